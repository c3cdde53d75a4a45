"""Reading FlatBuffers that nobody vouches for: every offset is checked, and so is the memory that they may cost.

The format is that of https://flatbuffers.dev/internals/: a table starts with its distance to a vtable, which holds one
16-bit offset per field, or 0 where the field has its default. Fields are named by their number in the schema.

Kept by hand: the `flatbuffers` package trusts its input, and follows any offset of a hostile file.
"""

import struct
from dataclasses import dataclass

from bilayer.runtime.errors import DlcError

# Many offsets may point at one long string: what is read is bounded by its size in memory, not by the file's
MEMORY_LIMIT = 128 << 20  # bytes of Python objects
_TABLE_COST, _STRING_COST, _NUMBER_COST = 500, 100, 40  # bytes of one, about
_MAX_STRING = 1 << 12  # bytes; names and types are far shorter


class FlatBuffer:
    """The bytes of one FlatBuffer, `data` starting at its root offset; a DlcError where its schema has another id."""

    def __init__(self, data: memoryview, what: str, *ids: str) -> None:
        self.data = data
        self.what = what  # for messages
        self._spent = 0
        self.identifier = bytes(self.data[4:8])  # which schema it follows
        if ids and self.identifier not in [known.encode() for known in ids]:
            raise DlcError(f"{what}: expected id {' or '.join(ids)}, found {self.identifier!r}")

    def root(self) -> "Table":
        """Return the table that everything hangs from."""
        return self.table_at(self.follow(0))

    def table_at(self, position: int) -> "Table":
        """Return the table at `position`, with its vtable checked."""
        self.spend(_TABLE_COST)
        vtable = position - self.number("<i", position)
        size = self.number("<H", vtable)
        self.check(vtable, size)
        return Table(self, position, vtable, max(0, size - 4) // 2)

    def string_at(self, position: int) -> str:
        """Return the string at `position`; only printable text passes, since names end up in terminals and messages."""
        start, length = self.vector_at(position, 1)
        self.spend(_STRING_COST + length)
        if length > _MAX_STRING:
            raise DlcError(f"{self.what}: expected names of up to {_MAX_STRING} bytes, found {length}")
        try:
            text = str(self.data[start : start + length], "utf-8")
        except UnicodeDecodeError as error:
            raise DlcError(f"{self.what}: a name at byte {start} is not UTF-8") from error
        if not text.isprintable():
            raise DlcError(f"{self.what}: a name at byte {start} has control characters")
        return text

    def vector_at(self, position: int, item_size: int) -> tuple[int, int]:
        """Return first byte and item count of the vector at `position`."""
        count = self.number("<I", position)
        self.check(position + 4, count * item_size)
        return position + 4, count

    def follow(self, position: int) -> int:
        """Return where the offset at `position` points."""
        return position + self.number("<I", position)

    def number(self, code: str, position: int) -> int:
        """Return the integer of `struct` code `code` at `position`."""
        self.check(position, struct.calcsize(code))
        value: int = struct.unpack_from(code, self.data, position)[0]
        return value

    def check(self, position: int, size: int) -> None:
        """Raise unless `size` bytes from `position` on are inside."""
        if position < 0 or position + size > len(self.data):
            raise DlcError(f"{self.what}: damaged: points at byte {position + size} of {len(self.data)}")

    def spend(self, cost: int) -> None:
        """Count `cost` bytes of memory; raise when there are more than any real file needs."""
        self._spent += cost
        if self._spent > MEMORY_LIMIT:
            raise DlcError(f"{self.what}: damaged: asks for more than {MEMORY_LIMIT >> 20} MiB")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its fields by number, a default where the file leaves one out."""

    buffer: FlatBuffer
    position: int
    vtable: int
    fields: int

    def has(self, field: int) -> bool:
        """Return whether the file gives that field."""
        return self._find(field) is not None

    def number(self, code: str, field: int, default: int = 0) -> int:
        """Return an integer of `struct` code `code`."""
        position = self._find(field)
        return default if position is None else self.buffer.number(code, position)

    def float32(self, field: int) -> float:
        """Return a 32-bit float, 0 by default."""
        return float(struct.unpack("<f", struct.pack("<I", self.number("<I", field)))[0])

    def string(self, field: int) -> str:
        """Return a string, empty by default."""
        position = self._find(field)
        return "" if position is None else self.buffer.string_at(self.buffer.follow(position))

    def strings(self, field: int) -> tuple[str, ...]:
        """Return a vector of strings."""
        return tuple(self.buffer.string_at(self.buffer.follow(position)) for position in self._items(field, 4))

    def table(self, field: int) -> "Table | None":
        """Return the table that a field holds; None where it is absent."""
        position = self._find(field)
        return None if position is None else self.buffer.table_at(self.buffer.follow(position))

    def tables(self, field: int) -> list["Table"]:
        """Return a vector of tables."""
        return [self.buffer.table_at(self.buffer.follow(position)) for position in self._items(field, 4)]

    def int32s(self, field: int) -> tuple[int, ...]:
        """Return a vector of 32-bit integers."""
        positions = self._items(field, 4)
        self.buffer.spend(_NUMBER_COST * len(positions))
        return tuple(self.buffer.number("<i", position) for position in positions)

    def raw(self, field: int, item_size: int = 1) -> memoryview:
        """Return the bytes of a vector of plain numbers, not copied."""
        items = self._items(field, item_size)
        return self.buffer.data[items.start : items.stop]

    def _items(self, field: int, item_size: int) -> range:
        position = self._find(field)
        if position is None:
            return range(0)
        start, count = self.buffer.vector_at(self.buffer.follow(position), item_size)
        return range(start, start + count * item_size, item_size)

    def _find(self, field: int) -> int | None:
        if field >= self.fields:
            return None
        offset = self.buffer.number("<H", self.vtable + 4 + 2 * field)
        return self.position + offset if offset else None
