"""What does an internal error leave behind?  A ZIP with all that is needed to see it again, and words on where to send it."""

from __future__ import annotations

import io
import json
import os
import platform
import shlex
import tempfile
import time
import traceback
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .version import find_versions

LARGEST = 64 << 20  # bytes of a model that goes into the bundle
_README = """\
This bundle was written by lamina because of an internal error, to be attached to a bug report.

error.txt       the error with its traceback          command.txt   the command line
versions.json   versions and the machine              model/        the model, where it is a file of up to 64 MiB
graph.lamina    the model's graph as text (shapes and operators; large weights by their hash alone)

Look into it before you share it: the model and the names in it may be yours alone.
"""


def write_bundle(error: BaseException, arguments, argv: Sequence[str], console) -> str | None:
    """Write the bundle of `error` into this folder, or the one for temporary files; its path, and words on standard error."""
    data = bundle(error, arguments, argv)
    name = f"lamina-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.zip"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            path = folder / name
            path.write_bytes(data)
        except OSError:
            continue
        console.error(f"  this is a bug of lamina. {path} holds what is needed to see it again")
        console.error("  please open an issue of the lamina project with this file (look into it first: your model may be in it),")
        console.error("  or run the command with LAMINA_TRACEBACK=full and copy what it prints")
        return str(path)
    console.error("  this is a bug of lamina; no folder could be written for a report. LAMINA_TRACEBACK=full shows the traceback")
    return None


def bundle(error: BaseException, arguments, argv: Sequence[str]) -> bytes:
    """The bytes of the ZIP."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README)
        archive.writestr("error.txt", "".join(traceback.format_exception(error)))
        archive.writestr("command.txt", "lamina " + shlex.join(argv) + "\n")
        archive.writestr("versions.json", json.dumps({"versions": find_versions(), "platform": platform.platform(),
                                                      "machine": platform.machine(), "processors": os.cpu_count()}, indent=2))
        model = Path(getattr(arguments, "model", None) or "")
        if model.name and model.is_file() and model.stat().st_size <= LARGEST:
            archive.write(model, f"model/{model.name}")
        graph = graph_text(arguments)
        if graph:
            archive.writestr("graph.lamina", graph)
    return out.getvalue()


def graph_text(arguments) -> str | None:
    """The model's graph as text, where it still can be read."""
    from .console import Console
    from .model import load_graph
    if not getattr(arguments, "model", None) or arguments.model == "-":
        return None
    try:
        return str(load_graph(arguments, Console(is_quiet=True)))
    except Exception:  # reading the model may be what failed
        return None
