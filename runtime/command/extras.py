"""Which extra of the package brings a module that is not installed: the package's own metadata knows."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

from bilayer.runtime.errors import ToolMissingError, in_short

# torch>=2.10; extra == "export", but not extras that take in others
_OF_EXTRA = re.compile(r"(?!bilayer\[)([\w.-]+).*; .*extra == [\"']([\w-]+)")


@contextmanager
def naming_extras() -> Iterator[None]:
    """Inside, a module of an extra that is not installed or cannot be loaded is a ToolMissingError that names it."""
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        extra = extra_of(module)
        if extra is None:
            raise
        if isinstance(error, ModuleNotFoundError):
            raise ToolMissingError(f"{module} is not installed; pip install 'bilayer[{extra}]'") from error
        way_out = f"pip install --force-reinstall 'bilayer[{extra}]'"
        raise ToolMissingError(f"{module} cannot be loaded ({in_short(error)}); {way_out}") from error


def check_installed(modules: Iterable[str]) -> None:
    """Raise a ToolMissingError that names its extra for the first module that is not installed; none is loaded."""
    with naming_extras():
        for module in modules:
            if find_spec(module) is None:
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of `packages` that are installed, by name."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def extra_of(module: str) -> str | None:
    """Return the first extra that brings the package of that name; None where none does."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("bilayer") or []
    except PackageNotFoundError:  # run from a source folder
        return None
    found = (_OF_EXTRA.match(line) for line in lines)
    extras = {match[1].replace("-", "_").lower(): match[2] for match in reversed([m for m in found if m])}
    return extras.get(module)
