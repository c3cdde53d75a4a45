"""Arrays by what they hold: one name each, wherever they are handed on."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]  # pixels, 0..255
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Points = NDArray[np.float64]  # places in the plane, or along one axis of it
Complex = NDArray[np.complex128]  # the same as x + iy
