"""Writing .safetensors files that no library would write."""

import json
import struct


def safetensors(header, data=b"", length=None):
    """A file with this header: bytes, text, or JSON; `length` is what it claims of the header."""
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data
