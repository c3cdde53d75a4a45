"""The one door for writing: a file or folder appears whole, or what was there stays as it is.

A draft stands beside its place in a folder of its own, `.NAME.bilayer-XXXXXXXX.part`, which its writer locks as long as
it lives. What is in it is on the disk before it takes its place. A draft that nobody locks was left by a process that
was killed; it goes when the next one is made beside it.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bilayer.runtime.errors import BilayerError, OutputError, behind
from bilayer.runtime.files.reading import StrPath, is_file, is_folder, is_there, list_folder
from bilayer.runtime.files.reasons import why_not_written
from bilayer.runtime.process.undisturbed import undisturbed

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]

_OF_RUST = re.compile(r"\(os error (\d+)\)")
_DRAFT = re.compile(r"\..*\.bilayer-[0-9a-f]{8}\.part", re.DOTALL)


def check_output(target: Path) -> None:
    """See that a file can be written, its folder made if need be: before the work that ends in it.

    Raises:
        OutputError: it is a folder, or what a file must not take the place of; or its place cannot be written to.
    """
    if is_folder(target):
        raise OutputError(f"{target}: is a folder; name a file to write")
    if _is_of_the_system(target):
        raise OutputError(f"{target}: is a device, pipe or socket; name a file to write")
    with _told(target, "cannot write here"):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(target)  # tells of a name that is too long, or of a folder above that may not be entered
        place = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not is_folder(place):
        found = "a file" if is_file(place) else "a device, pipe or socket"
        raise OutputError(f"{target}: {place} is {found} and not a folder; name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: cannot write here: no permission for {place}; name another place")
    if not _takes_files(place):
        raise OutputError(f"{target}: cannot write here: the system makes no files in {place}; name another place")


def _takes_files(folder: Path) -> bool:
    """Whether files can be made in a folder where that is allowed: not in /proc, which has no blocks to keep any."""
    if not hasattr(os, "statvfs") or os.statvfs(folder).f_blocks:
        return True
    probe = folder / f".bilayer-{secrets.token_hex(4)}"
    try:  # a mount that tells nothing of its size may take them
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:
        return False
    with suppress(OSError):  # a mount may take files and give none back; it can be written to
        probe.unlink()
    return True


def check_apart(written: Iterable[Path], read: Iterable[StrPath | None]) -> None:
    """See that no file that is written takes the place of one that is read, by whatever names; None is no file.

    Raises:
        OutputError: one would.
    """
    given = [path for path in read if path is not None and is_file(path)]
    for target in written:
        if is_file(target) and any(os.path.samefile(target, path) for path in given):  # noqa: PTH121
            raise OutputError(f"{target}: is read here, and would be written over; name another place")


def check_new_folder(target: Path) -> None:
    """Raise an OutputError, before the work that ends in it, unless a folder can be made, or is there and empty."""
    if is_file(target) or (is_folder(target) and list_folder(target, error=OutputError)):
        raise OutputError(f"{target}: is there already and not an empty folder; name another or remove it")
    check_output(target / "0")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there, or raise an OutputError where that cannot be."""
    if is_there(folder) and not is_folder(folder):
        raise OutputError(f"{folder}: is a file and not a folder; name another place")
    with _told(folder, "cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """`folder` is there inside, with its parents; where the block fails, those that were made for it go again.

    Raises:
        OutputError: that cannot be.
    """
    missing = [place for place in (folder, *folder.parents) if not is_there(place)]
    make_folder(folder)
    try:
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # something else came into it
                place.rmdir()
        raise


@contextmanager
def drafting(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`, on its file system; after the block it is gone with all that is in it.

    Raises:
        OutputError: it cannot be made, or the disk is full.
    """
    with making_folder(target.parent):
        made: tuple[Path, int] | None = None
        try:
            with _told(target, "cannot write here"):
                sweep_drafts(target.parent.absolute())
                with undisturbed():  # or it would be made and not known
                    made = _locked_draft(target)
            yield made[0]
        except OSError as error:
            raise OutputError(f"{target}: writing failed: {why_not_written(error)}") from error
        finally:
            if made is not None:
                with undisturbed():
                    shutil.rmtree(made[0], ignore_errors=True)
                    os.close(made[1])


@contextmanager
def replacing(target: Path, executable: bool = False) -> Iterator[Path]:
    """Yield a path to write to; on success what is there takes the target's place, on failure it goes.

    An existing target survives any failure, a killed process included. A missing folder is made.

    Raises:
        OutputError: the folder cannot be made or written to, the target is a folder, or the disk is full.
    """
    check_output(target)
    with drafting(target) as draft:
        part = draft / target.name
        yield part
        publish(part, target, executable)


def write_file(target: Path, content: bytes | str | Callable[[Path], object], executable: bool = False) -> None:
    """Write a file whole or not at all.

    Args:
        target: where to; a missing folder is made.
        content: bytes, text for UTF-8, or a function that writes to the path that it is given.
        executable: whether it is a program.

    Raises:
        OutputError: as `replacing`, and whatever that function raises: libraries have their own errors for a full disk.
    """
    with replacing(target, executable) as part:
        if isinstance(content, bytes):
            part.write_bytes(content)
        elif isinstance(content, str):
            part.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
        else:
            try:
                content(part)
            except (BilayerError, OSError):
                raise
            except Exception as error:
                for cause in behind(error):  # raised in a library's callback: it says that its file is not whole
                    if isinstance(cause, KeyboardInterrupt | SystemExit):
                        raise cause from None
                raise OutputError(f"{target}: writing failed: {_reason(error)}") from error


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that belong together, by name: all are on the disk before the first takes its place.

    Raises:
        OutputError: they cannot be written; those that were there are there.
    """
    with drafting(folder / next(iter(contents))) as draft:
        former = draft / "former"
        former.mkdir()
        for name, content in contents.items():
            check_output(folder / name)
            (draft / name).write_bytes(content)
            _settle(draft / name, _usual_mode())
            with suppress(FileNotFoundError):  # none was there
                _keep(folder / name, former / name)
        placed: list[str] = []
        with undisturbed():
            try:
                for name in contents:
                    (draft / name).replace(folder / name)
                    placed.append(name)
            except OSError:
                for name in placed:
                    if is_there(former / name):
                        (former / name).replace(folder / name)
                    else:
                        (folder / name).unlink()
                raise
        sync_folder(folder)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the target's place on success, and goes on failure.

    Raises:
        OutputError: something is there already, it cannot be made, or the disk is full.
    """
    check_new_folder(target)
    with drafting(target) as draft:
        yield draft
        publish(draft, target)


def publish(part: Path, target: Path, executable: bool = False) -> None:
    """Let a finished draft, a file or a folder, take the place of `target`, with the permissions of a new one.

    Raises:
        OSError: it cannot.
    """
    mode = _usual_mode()
    entered = mode | (mode & 0o444) >> 2  # a folder that may be read may be entered, a program run
    for place, _, names in os.walk(part):
        for name in names:
            _settle(Path(place, name), mode)
        _settle(Path(place), entered)
    if not is_folder(part):
        _settle(part, entered if executable else mode)
    part.replace(target)
    sync_folder(target.parent)


@contextmanager
def holding_folder(folder: Path) -> Iterator[None]:
    """Make other processes that ask for the same folder wait, and signals, too: for renames that belong together."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # there are file systems without locks
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX)
        with undisturbed():
            yield
    finally:
        os.close(lock)


def _keep(file: Path, name: Path) -> None:
    """A further name of a file, which outlives its own; a copy where the file system has no such."""
    try:
        os.link(file, name)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(file, name)


def _is_of_the_system(target: Path) -> bool:
    """Whether a device, pipe or socket lies there, or what leads to one: a rename would take /dev/null from all."""
    try:
        leads = os.readlink(target) if os.path.islink(target) else ""  # noqa: PTH114, PTH115
        return leads.startswith("/proc/") or not stat.S_ISREG(os.stat(target).st_mode)  # noqa: PTH116
    except (OSError, ValueError):  # nothing is there, or what is told elsewhere
        return False


def _usual_mode() -> int:
    """Permissions that a new file of this user has."""
    current = os.umask(0o077)
    os.umask(current)
    return 0o666 & ~current


def _locked_draft(target: Path) -> tuple[Path, int]:
    """A new folder for a draft, and the descriptor that locks it until it is closed."""
    while True:
        draft = target.with_name(f".{target.name[:50]}.bilayer-{secrets.token_hex(4)}.part")  # a name has 255 bytes
        draft.mkdir(mode=0o700)
        lock = os.open(draft, os.O_RDONLY)
        with suppress(OSError):  # there are file systems without locks: then nobody takes it for left
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX)
        if is_folder(draft):
            return draft, lock
        os.close(lock)  # it was swept in the moment before it was locked


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts in a folder that no process works on."""
    drafts = []
    with suppress(OSError), os.scandir(folder) as entries:  # one may write where one may not look
        drafts = [Path(entry.path) for entry in entries if _DRAFT.fullmatch(entry.name)]
    for draft in drafts if fcntl else []:
        with suppress(OSError):  # it is worked on, or another's
            lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(draft)
            finally:
                os.close(lock)


def _settle(path: Path, mode: int) -> None:
    path.chmod(mode)
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(target: Path, failed: str) -> Iterator[None]:
    """Turn what the system raises inside into an OutputError that names `target`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: {failed}: {why_not_written(error)}") from error
    except ValueError as error:  # a zero byte, or half a surrogate pair
        raise OutputError(f"{target}: {failed}: not a name that a file can have ({error}); correct it") from error


def _reason(error: BaseException) -> str:
    """What the system said, if a library raised its own error of that; else what the library says."""
    for cause in behind(error):
        if isinstance(cause, OSError) and cause.strerror:
            return why_not_written(cause)
        if told := _OF_RUST.search(str(cause)):  # safetensors', behind which come the draft's name and place
            return why_not_written(OSError(int(told[1]), os.strerror(int(told[1]))))
    return next(iter(str(error).strip().splitlines()), "")[:200] or type(error).__name__
