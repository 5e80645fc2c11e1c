"""What does Options(dump=DIR) leave, and how does a compilation go on from there?

One numbered file for each stage, in order: graphs as `NN-name.lamina`, then kernels, program, LLVM text and assembly;
`remarks.txt`; and `constants.npz` with the arrays that graphs and the program name by digest. Stages before a failure
are there.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Mapping

import numpy as np

from ..compiler.core.errors import FormatError
from ..compiler.core.options import Options
from ..compiler.graph.graph import Graph
from ..runtime.artifact import Artifact

CONSTANTS = "constants.npz"
GRAPH = "lamina"  # the suffix of a graph's file: it is a model again
_SUFFIX = {"kernels": "txt", "program": "txt", "llvm": "ll", "asm": "s"}


class DumpFolder:
    """Writes each stage that the compiler hands out into a folder, over what an earlier dump left there."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files: list[str] = []
        self._constants: set[str] = set()
        for old in (*self.folder.glob("[0-9][0-9]-*"), self.folder / CONSTANTS, self.folder / "remarks.txt"):
            old.unlink(missing_ok=True)

    def __call__(self, name: str, text: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a stage and those of its arrays that no stage before had."""
        if name == "remarks":
            self._write("remarks.txt", text)
            return
        for digest, array in arrays.items():
            if digest not in self._constants:
                self._constants.add(digest)
                self._append(digest, array)
        number = sum(file[:2].isdigit() for file in self.files)
        self._write(f"{number:02}-{name}.{_SUFFIX.get(name, GRAPH)}", text)

    def _write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text, encoding="utf-8")
        if file not in self.files:
            self.files.append(file)

    def _append(self, digest: str, array: np.ndarray) -> None:
        """One more array in the .npz; a dtype that .npy has no name for goes as bits, its name behind the digest."""
        name = digest
        if array.dtype.kind == "V":
            name, array = f"{digest}.{array.dtype.name}", array.view(np.uint16)
        dense = np.ascontiguousarray(array).reshape(array.shape)
        with zipfile.ZipFile(self.folder / CONSTANTS, "a") as archive:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, dense, allow_pickle=False)


# ---- going on --------------------------------------------------------------------------------------------------------
def read_graph(folder: str | os.PathLike, stage: str) -> Graph:
    """The graph that the pass `stage` left ("traced": the one that was given)."""
    from ..compiler.graph.text import parse_graph
    return parse_graph(_text(folder, stage), read_constants(folder)).verify()


def resume(folder: str | os.PathLike, stage: str, options: Options = Options()) -> Artifact:
    """Compile on from a stage of a dump: a graph's, or "program".

    A file may be edited before: what comes after is made of what it says then.
    """
    from ..compiler.driver import compile_graph, compile_program
    from ..compiler.targets.find import find_target
    from .cached import native_run, writer
    if stage != "program":
        return compile_graph(read_graph(folder, stage), options=options, after=stage, write=writer(options),
                             load=native_run)
    from ..compiler.plan.text import parse_program
    text = _text(folder, "program") + "\n" + _text(folder, "kernels")
    return compile_program(parse_program(text, constants=read_constants(folder)).verify(), find_target(options.target))


def read_constants(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a dump by digest."""
    from ..runtime.signature import numpy_dtype
    path = Path(folder) / CONSTANTS
    if not path.is_file():
        return {}
    found = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            digest, _, dtype = key.partition(".")
            found[digest] = arrays[key].view(numpy_dtype(dtype)) if dtype else arrays[key]
    return found


def _text(folder: str | os.PathLike, stage: str) -> str:
    found = sorted(Path(folder).glob(f"[0-9][0-9]-{stage}.{_SUFFIX.get(stage, GRAPH)}"))
    if not found:
        stages = [p.stem[3:] for p in sorted(Path(folder).glob("[0-9][0-9]-*"))]
        raise FormatError(f"{os.fspath(folder)} holds no stage {stage!r}",
                          hint=f"it holds {', '.join(stages) or 'none'}")
    return found[0].read_text(encoding="utf-8")
