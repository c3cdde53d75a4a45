"""Why the system did not read or write a file, in words, with what may be done."""

import errno

_NOT_ALLOWED = "allow yourself to read it, as by chmod u+r, or name another"
_READING = {errno.EACCES: _NOT_ALLOWED, errno.EPERM: _NOT_ALLOWED, errno.EIO: "its disk may be failing: name a copy"}
_NO_ROOM = "make room there, or name another place"
_WRITING = {errno.ENOSPC: _NO_ROOM, errno.EDQUOT: _NO_ROOM, errno.EFBIG: _NO_ROOM}


def why_not_read(problem: OSError) -> str:
    """Return what the system said where it did not read, and what may be done."""
    return _why(problem, _READING.get(problem.errno or 0, "name another, or a copy on another disk"))


def why_not_written(problem: OSError) -> str:
    """Return what the system said where it did not write, and what may be done."""
    return _why(problem, _WRITING.get(problem.errno or 0, "name another place"))


def _why(problem: OSError, way_out: str) -> str:
    return f"{problem.strerror or problem}; {way_out}"
