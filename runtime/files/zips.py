"""Zip archives whose bytes tell their files and nothing else."""

import io
import zipfile
from collections.abc import Iterable


def zip_bytes(files: Iterable[tuple[str, bytes]], comment: bytes = b"") -> bytes:
    """Return an archive of files by name, in that order, not compressed: the same files, the same bytes.

    Its members are of 1980, as no clock is asked.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.comment = comment
    return stream.getvalue()
