"""Synthetic talking heads: exact landmarks, masks and texture coordinates, from a morphable model.

Public names: see __init__.pyi.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
