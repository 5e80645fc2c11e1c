"""Who looks on while a graph is compiled?  Observers are shown every stage as it is made; a dump writes each down."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping

import numpy as np

from ..runtime.artifact import Artifact
from .core.remarks import Remarks
from .graph.graph import Graph
from .graph.text import graph_constants
from .plan.program import Program
from .plan.text import program_constants

#: Takes the name of a stage, its text, and the arrays by digest that the text names: the compiler itself opens no file.
Writer = Callable[[str, str, Mapping[str, np.ndarray]], None]


class Observer:
    """Is shown each stage of one compilation, in order; what it raises ends the compilation."""

    def graph(self, name: str, graph: Graph) -> None:
        """The graph that was given ("traced"), and the one that the pass `name` left."""

    def program(self, program: Program) -> None:
        """The program with its memory plan."""

    def modules(self, modules: Mapping[str, str]) -> None:
        """The LLVM text of each module, by name."""

    def artifact(self, artifact: Artifact) -> None:
        """The Artifact that leaves the compiler."""


class Observers(Observer):
    """Shows each stage to every one of several observers, in their order."""

    def __init__(self, observers: Iterable[Observer]):
        self._observers = tuple(observers)

    def graph(self, name: str, graph: Graph) -> None:
        for observer in self._observers:
            observer.graph(name, graph)

    def program(self, program: Program) -> None:
        for observer in self._observers:
            observer.program(program)

    def modules(self, modules: Mapping[str, str]) -> None:
        for observer in self._observers:
            observer.modules(modules)

    def artifact(self, artifact: Artifact) -> None:
        for observer in self._observers:
            observer.artifact(artifact)


class Dump(Observer):
    """Hands the text of every stage to `write`: graphs, "kernels", "program", "llvm", "asm", and after each the
    "remarks" so far."""

    def __init__(self, write: Writer, remarks: Remarks):
        self._write, self._remarks = write, remarks
        self._count = 0

    def _remark(self) -> None:
        if len(self._remarks) > self._count:
            self._count = len(self._remarks)
            self._write("remarks", "".join(f"{remark}\n" for remark in self._remarks), {})

    def graph(self, name: str, graph: Graph) -> None:
        self._write(name, str(graph), graph_constants(graph))
        self._remark()

    def program(self, program: Program) -> None:
        self._write("kernels", "\n".join(map(str, program.kernels)), {})
        self._write("program", str(program), program_constants(program))
        self._remark()

    def modules(self, modules: Mapping[str, str]) -> None:
        self._write("llvm", "\n".join(f"; ---- {name}\n{text}" for name, text in modules.items()), {})

    def artifact(self, artifact: Artifact) -> None:
        self._write("asm", artifact.texts["asm"](), {})
        self._remark()
