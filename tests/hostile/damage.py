"""What happens to any file, whatever its kind: each function takes good bytes and lays something at a path."""

import gzip
import os
import random

KEPT = (0, 3)  # exit codes where a damaged file may still be a right one


def _write(change):
    def lay(path, good):
        path.write_bytes(change(good))

    return lay


def _flipped(seed, count):
    def change(good):
        chosen, content = random.Random(seed), bytearray(good)
        for _ in range(count):
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        return bytes(content)

    return _write(change)


def _sparse(path, good):
    with path.open("wb") as file:
        file.write(good)
        file.truncate(1 << 40)


def _loop(path, good):
    path.symlink_to(path.name)


WRONG = {  # never a right file
    "missing": lambda path, good: None,
    "empty": _write(lambda good: b""),
    "one-byte": _write(lambda good: good[:1]),
    "a-quarter": _write(lambda good: good[: len(good) // 4]),
    "zeros": _write(lambda good: bytes(4096)),
    "noise": _write(lambda good: random.Random(1).randbytes(4096)),
    "a-web-page": _write(lambda good: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"),
    "gzipped": _write(lambda good: gzip.compress(good, mtime=0)),
    "folder": lambda path, good: path.mkdir(),
    "fifo": lambda path, good: os.mkfifo(path),
    "endless": lambda path, good: path.symlink_to("/dev/zero"),
    "link-to-itself": _loop,
    "a-thousand-gigabytes": _sparse,
}
DAMAGED = {  # may be right all the same
    "half": _write(lambda good: good[: len(good) // 2]),
    "last-byte-gone": _write(lambda good: good[:-1]),
    "a-byte-more": _write(lambda good: good + b"\0"),
    "head-flipped": _write(lambda good: bytes([good[0] ^ 0x20]) + good[1:]),
    "16-bits-flipped": _flipped(1, 16),
    "200-bits-flipped": _flipped(2, 200),
    "middle-zeroed": _write(lambda good: good[: len(good) // 3] + bytes(64) + good[len(good) // 3 + 64 :]),
}
