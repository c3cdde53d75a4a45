"""A .dlc file's outside: a stored zip of a few members, the binary ones behind an 8-byte header with the version.

Qualcomm's writers leave every CRC of a v4 file 0, which `zipfile` takes for damage; so the members are found here, from
the zip's directory (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3 and 4.5.3), and never copied.
"""

import struct
import zlib
from typing import Any

from bilayer.runtime.errors import DlcError

MAX_MEMBERS = 64  # real files have 3 to 6, and one more per cached device
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_END_SIZE, _ENTRY_SIZE, _LOCAL_SIZE = 22, 46, 30
# signature, method, CRC, packed size, size, lengths of name, extra field and comment, offset of the local header
_ENTRY_CODE = "<4s6xH4xIIIHHH8xI"
_IN_EXTRA = 0xFFFFFFFF  # "see the zip64 extra field"
_ZIP64 = 1  # that field's number
_MAGIC = b"\xd5\x0a"


def read_members(data: memoryview) -> dict[str, memoryview]:
    """Return the members of a .dlc by name, views into `data`.

    Raises:
        DlcError: not a zip, damaged, compressed or with implausibly many members.
    """
    if bytes(data[:4]) not in (_LOCAL, _END):
        found = repr(bytes(data[:4])) if data else "an empty file"
        raise DlcError(f"not a .dlc file: expected a zip (PK), found {found}")
    count, position = _find_directory(data)
    if count > MAX_MEMBERS:
        raise DlcError(f"expected at most {MAX_MEMBERS} members, found {count}")
    members: dict[str, memoryview] = {}
    for _ in range(count):
        signature, method, crc, packed, size, names, extras, comments, local = _unpack(_ENTRY_CODE, data, position)
        if signature != _ENTRY:
            raise DlcError(f"damaged: expected a directory entry at byte {position}")
        name = _name(_cut(data, position + _ENTRY_SIZE, names))
        extra = _cut(data, position + _ENTRY_SIZE + names, extras)
        size, packed, local = _wide(extra, size, packed, local)
        if method or packed != size:
            raise DlcError(f"member {name}: expected it stored, found it compressed (method {method})")
        if name in members:
            raise DlcError(f"damaged: two members named {name}")
        members[name] = _contents(data, local, size)
        if crc and zlib.crc32(members[name]) != crc:
            raise DlcError(f"member {name}: damaged: its checksum differs")
        position += _ENTRY_SIZE + names + extras + comments
    return members


def read_header(member: memoryview, name: str) -> tuple[int, int, memoryview]:
    """Return the major and minor version of a binary member, and what follows its header."""
    head = bytes(member[:8])
    if len(head) < 8 or head[:2] != _MAGIC or head[6:] != b"\0\0":
        raise DlcError(f"member {name}: expected it to start with d5 0a, found {head.hex(' ') or 'nothing'}")
    major, minor = struct.unpack_from("<HH", head, 2)
    return major, minor, member[8:]


def _find_directory(data: memoryview) -> tuple[int, int]:
    """Number of entries and first byte of the zip's directory."""
    start = max(0, len(data) - _END_SIZE - 0xFFFF)
    found = bytes(data[start:]).rfind(_END)
    if found < 0:
        raise DlcError("truncated: the zip's directory is missing")
    end = start + found
    count, position, comment = _unpack("<10xH4xIH", data, end)
    if end + _END_SIZE + comment != len(data):
        raise DlcError(f"truncated or damaged: expected {end + _END_SIZE + comment} bytes, found {len(data)}")
    if bytes(data[max(0, end - 20) : end])[:4] == _LOCATOR_64:
        (end_64,) = _unpack("<8xQ", data, end - 20)
        signature, count, position = _unpack("<4s28xQ8xQ", data, end_64)
        if signature != _END_64:
            raise DlcError("damaged: the zip64 directory is not where it should be")
    return count, position


def _wide(extra: memoryview, *sizes: int) -> tuple[int, ...]:
    """The sizes, those that say so replaced from the zip64 field of `extra`, which has the 64-bit values in order."""
    if _IN_EXTRA not in sizes:
        return sizes
    position = 0
    while position < len(extra):
        kind, length = _unpack("<HH", extra, position)
        if kind == _ZIP64 and length >= 8 * sizes.count(_IN_EXTRA):
            wide = iter(_unpack(f"<{length // 8}Q", extra, position + 4))
            return tuple(next(wide) if size == _IN_EXTRA else size for size in sizes)
        position += 4 + length
    raise DlcError("damaged: a size is missing from the zip64 field")


def _contents(data: memoryview, local: int, size: int) -> memoryview:
    signature, names, extras = _unpack("<4s22xHH", data, local)
    if signature != _LOCAL:
        raise DlcError(f"damaged: expected a member at byte {local}")
    return _cut(data, local + _LOCAL_SIZE + names + extras, size)


def _name(raw: memoryview) -> str:
    try:
        name = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise DlcError("damaged: a member's name is not UTF-8") from error
    if not name.isprintable() or len(name) > 256:
        raise DlcError("damaged: a member's name is not printable")
    return name


def _cut(data: memoryview, start: int, size: int) -> memoryview:
    if start + size > len(data):
        raise DlcError(f"truncated: expected {start + size} bytes, found {len(data)}")
    return data[start : start + size]


def _unpack(code: str, data: memoryview, position: int) -> tuple[Any, ...]:
    return struct.unpack(code, _cut(data, position, struct.calcsize(code)))
