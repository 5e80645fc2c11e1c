"""How does a file get written?  Whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_file(path: str | Path, data: str | bytes) -> None:
    """Write `data` under `path` at once: into a file beside it that then takes the name, so that nothing half-written is left.

    What is no plain file, such as /dev/null or a pipe, is written in place.
    """
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
