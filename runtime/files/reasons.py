"""What the system did not do, in words, with what may be done."""

import errno

_NOT_ALLOWED = "allow yourself to read it, as by chmod u+r, or name another"
_FAILING = {errno.EIO: "its disk may be failing: name a copy"}
_READING = {errno.EACCES: _NOT_ALLOWED, errno.EPERM: _NOT_ALLOWED, **_FAILING}
_NO_ROOM = "make room there, or name another place"
_WRITING = {errno.ENOSPC: _NO_ROOM, errno.EDQUOT: _NO_ROOM, errno.EFBIG: _NO_ROOM}
_NOT_USED = "see who may use it, or name another place"
_USING = {errno.EACCES: _NOT_USED, errno.EPERM: _NOT_USED, **_FAILING, **_WRITING}
_DISK = (*_WRITING, errno.EROFS, errno.EIO)
_OTHER = {  # of processes, files and sockets
    errno.EAGAIN: "wait until fewer programs run, or ask for fewer --jobs",
    errno.EMFILE: "allow more open files, as by ulimit -n 4096, or ask for fewer --jobs",
    errno.ENFILE: "end other programs that hold files open",
}


def why_not_read(problem: OSError) -> str:
    """Return what the system said where it did not read, and what may be done."""
    return _why(problem, _READING.get(problem.errno or 0, "name another, or a copy on another disk"))


def why_not_written(problem: OSError) -> str:
    """Return what the system said where it did not write, and what may be done."""
    return _why(problem, _WRITING.get(problem.errno or 0, "name another place"))


def why_not_used(problem: OSError) -> str:
    """Return what the system said where it is not known whether it was to read or write, and what may be done."""
    return _why(problem, _USING.get(problem.errno or 0, "name another, or another place"))


def is_of_a_disk(problem: OSError) -> bool:
    """Return whether what the system said is of a file that was written: not of memory, processes or sockets."""
    return problem.errno in _DISK


def why_not_done(problem: OSError) -> str:
    """Return what the system said of no file, and what may be done."""
    return _why(problem, _OTHER.get(problem.errno or 0, "try again"))


def _why(problem: OSError, way_out: str) -> str:
    return f"{problem.strerror or problem}; {way_out}"
