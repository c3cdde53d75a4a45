"""Every error the project raises on purpose, and the exit code a command ends with.

    BilayerError
    ├── InputError         3   what the user gave cannot be used
    │   ├── PhotoError         an image file
    │   ├── LandmarkError      facial landmarks
    │   ├── CheckpointError    weights or their settings
    │   ├── BundleError        an exported avatar
    │   ├── DlcError           a .dlc file
    │   ├── ConversionError    a vendor's converter made no usable file of the model
    │   ├── TrainingError      settings or data with which training diverges
    │   ├── DeviceError        a phone, or what ran on it
    │   └── OutputError        the place to write to
    ├── ParityError        4   two computations that must agree do not
    └── ToolMissingError   5   an SDK, tool or optional package is not installed

Exit code 0 is success and 2 is a usage error (click's own). A message is one line: the file, the field,
expected against found, and the way out.
"""

from collections.abc import Iterator


class BilayerError(Exception):
    """Base of all errors that a command reports in one line instead of a traceback."""

    exit_code = 1


class InputError(BilayerError):
    """What the user gave cannot be used."""

    exit_code = 3


class PhotoError(InputError):
    """An image that cannot be read, or holds no usable picture."""


class LandmarkError(InputError):
    """Facial landmarks of the wrong count, shape or range."""


class CheckpointError(InputError):
    """A checkpoint that is damaged, unsafe, incomplete or of another model."""


class BundleError(InputError):
    """An exported avatar that is damaged, incomplete or of another version."""


class DlcError(InputError):
    """A .dlc file that is damaged, of an unknown version, or not one at all."""


class ConversionError(InputError):
    """A vendor's converter refused the model, crashed, hung, or left no file that reads back."""


class TrainingError(InputError):
    """Training diverged: a loss is no longer a finite number."""


class DeviceError(InputError):
    """A phone that is gone, full, locked or too slow, or a program on it that failed."""


class OutputError(InputError):
    """A result cannot be written where the user wants it."""


class ParityError(BilayerError):
    """Two computations that must agree differ by more than their threshold."""

    exit_code = 4


class ToolMissingError(BilayerError):
    """An SDK, tool or optional package that this action needs is not installed."""

    exit_code = 5


def in_short(error: BaseException) -> str:
    """Return what an error says, for a message: one line of at most 200 characters, or the name of its class."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it came of or came up beside, the latest first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
