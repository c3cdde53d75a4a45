"""What runs on every frame: no torch, no onnx. The public names are listed, with their types, in __init__.pyi."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
