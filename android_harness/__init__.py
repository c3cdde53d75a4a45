"""Phones: an avatar's network on Qualcomm's runtimes, measured and checked. Public names: see __init__.pyi."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
