"""One TensorFlow Lite network, loaded once and run by LiteRT on one thread."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats
from bilayer.runtime.face.model_files import RUNNER, no_runner
from bilayer.runtime.process.native_stderr import sifting


class TfliteNetwork:
    """Runs a .tflite file's content; not for use by several threads at once.

    Raises:
        ToolMissingError: the package ai-edge-litert is not installed.
    """

    def __init__(self, content: bytes) -> None:
        try:
            litert: Any = importlib.import_module(f"{RUNNER}.interpreter")
        except ImportError as error:
            raise no_runner() from error
        with sifting(lambda line: line.startswith(b"INFO: ")):  # "Created TensorFlow Lite XNNPACK delegate"
            # One thread: the networks take 1-4 ms, and drivers of video run several processes
            self._interpreter = litert.Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        self._outputs: list[int] = [tensor["index"] for tensor in self._interpreter.get_output_details()]

    def __call__(self, image: NDArray[np.floating]) -> list[Floats]:
        """Run on one image (H, W, 3) of the network's size; outputs in the order the file declares them."""
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(image[None], dtype=np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]
