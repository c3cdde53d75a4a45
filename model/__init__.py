"""The bi-layer networks, their checkpoints, and an avatar made from them. Public names: see __init__.pyi."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
