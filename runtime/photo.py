"""Where `read_photo` stood until 0.2, for programs that still take it from here; it is in bilayer.runtime.media."""

from bilayer.runtime.media.photo import read_photo

__all__ = ["read_photo"]
