"""How does a file appear whole or not at all?  Written under a temporary name beside it, then renamed."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".part"  # the suffix of files that are being written


def temporary_name(path: Path) -> Path:
    """A name in the folder of `path` that nobody else takes; `TEMPORARY` ends it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")


@contextmanager
def written_whole(path, *, durable: bool = True):
    """`with written_whole(path) as file:` a binary file that gets its name when the block ends, and is removed if the block raises.

    `durable` also waits until the bytes are on the disk, so that a power cut leaves the old file or the new one.
    """
    path = Path(path)
    temporary = temporary_name(path)
    file = open(temporary, "xb")
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk doesn't say which file it was
            error.filename = str(path)
        raise
