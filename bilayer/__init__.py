"""A one-shot head avatar, from a photo to a phone.

    import bilayer

    bilayer.export_avatar("me.jpg", "out/avatar.dlc")  # a photo to a bundle, compared with the trained model
    bilayer.check("out").require()  # every cheap way to run it, against float64
    avatar = bilayer.load_avatar("out")  # from here on neither torch nor onnx
    for frame in avatar.frames(bilayer.demo_motion(avatar)):
        ...  # (S, S, 4) RGBA bytes

Nothing is loaded before it is used. The public names are listed, with their types, in __init__.pyi; each room
(bilayer.runtime, bilayer.model, bilayer.export, ...) has more of its own.
"""

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    from bilayer.runtime.command.extras import naming_extras

    with naming_extras():
        return _load(name)
