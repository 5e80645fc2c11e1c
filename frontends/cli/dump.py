"""What does --dump leave?  One file for each pass and stage, and the constants that the graphs name by digest."""

from __future__ import annotations

from pathlib import Path

from ...compiler.core.options import Options
from ...compiler.graph.graph import Graph
from ...compiler.graph.text import graph_constants
from ..report.levels import Levels
from .arrays import npz_bytes, write_file
from .model import CONSTANTS, stored

_SUFFIX = {"kernels": "txt", "program": "txt", "llvm": "ll", "asm": "s"}


def dump_levels(graph: Graph, options: Options, folder: str, console) -> list[str]:
    """Write every level of the compilation of `graph` into `folder`, up to the one that fails; the names of the files.

    A graph's file is a model again: `lamina ir FOLDER/02-canonicalize.lamina` goes on from there.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    constants: dict = {}

    def write(name: str, text: str | bytes) -> None:
        write_file(root / name, text)
        written.append(name)
    with console.progress(f"dumping {graph.name}") as tell:
        levels = Levels(graph, options, tell)
        graphs = {"traced": graph, **levels.passes}
        for number, (name, after) in enumerate(graphs.items()):
            write(f"{number:02}-{name}.lamina", str(after))
            constants.update(graph_constants(after))
        write(CONSTANTS, npz_bytes(stored(constants)))
        try:
            for number, (stage, suffix) in enumerate(_SUFFIX.items(), len(graphs)):
                write(f"{number:02}-{stage}.{suffix}", levels.text(stage))
        except Exception as error:  # what failed is reported by the compilation itself, with all that the dump holds
            console.note(f"the dump ends here: {type(error).__name__}: {str(error).splitlines()[0]}")
        write("remarks.txt", "".join(f"{remark}\n" for remark in levels.remarks))
    console.note(f"{len(written)} files in {folder}")
    return written
