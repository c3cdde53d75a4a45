"""Arrays by what they hold: one name each, wherever they are handed on."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]  # pixels, 0..255
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
