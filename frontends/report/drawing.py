"""What is drawn of a graph?  Its operators and who reads whom, with the graphs inside operators as boxes around their
own."""

from __future__ import annotations

from typing import Iterator, Sequence

from ...compiler.graph.graph import Graph, Node, Value, subgraphs
from ...compiler.ops.constant import Constant
from ...compiler.ops.control import Fused
from .labels import label_values
from .marks import Marks


class Drawing:
    """The data of one drawn graph: {"nodes": [[name, family, detail, readers' sources, marks, box]], "boxes": [[title,
    family, detail, marks, box]]}.

    A source is the number of a node, a box the number of the innermost box around it (-1: none). The family of an
    operator is the file that is its home (elementwise, contract ...), that of a box the kind of the group. Constants,
    and what only rearranges them, are details of who reads them. `definitions` are the marks of results in printed
    order, `kernels` those of groups by location and label.
    """

    def __init__(self, marks: Marks, definitions: Sequence[list[int]], kernels: dict[tuple[str, str], list[int]]):
        self.marks = marks
        self._definitions = iter(definitions)
        self._kernels = {key: iter(found) for key, found in kernels.items()}
        self._sources: dict[Value, list[int]] = {}
        self._weights: dict[Value, str] = {}
        self.nodes: list[list] = []
        self.boxes: list[list] = []

    def draw(self, graph: Graph) -> dict:
        """The data of `graph`."""
        for param, name in zip(graph.params, graph.input_names):
            self._sources[param] = [self._add(name, "input", str(param.type), (), [], -1)]
        self._block(graph, -1, ())
        for result, name in zip(graph.results, graph.output_names):
            self._add(name, "output", str(result.type), self._sources.get(result, ()), [], -1)
        return {"nodes": self.nodes, "boxes": self.boxes}

    def _add(self, name: str, family: str, detail: str, sources, marks: list[int], box: int) -> int:
        self.nodes.append([name, family, detail, sorted(set(sources)), marks, box])
        return len(self.nodes) - 1

    def _block(self, graph: Graph, box: int, kernel: Sequence[int]) -> None:
        labels = label_values(graph)
        for node in graph.nodes:
            marks = [m for found in self._results(node) for m in found]
            place = str(node.location)
            marks += [self.marks.origin(place)] * bool(place)
            weights = [self._weights[o] for o in node.operands if o in self._weights]
            if isinstance(node.op, Constant) or node.op.is_view and len(weights) == len(node.operands):
                own = f"{getattr(node.op, 'label', '') or node.op.name} {node.result_types[0]}"
                self._weights[node.results[0]] = weights[0] if weights else own
                continue
            inside = list(subgraphs(node.op))
            if inside:
                self._box(node, inside, marks, box, kernel)
                continue
            sources = [source for operand in node.operands for source in self._sources.get(operand, ())]
            detail = f"{labels[node.results[0]]}: {'; '.join([', '.join(map(str, node.result_types)), *weights])}"
            number = self._add(node.op.name, family(node), detail, sources, [*marks, *kernel], box)
            self._sources.update((result, [number]) for result in node.results)

    def _results(self, node: Node) -> Iterator[list[int]]:
        for _ in node.results:
            yield next(self._definitions, [])

    def _box(self, node: Node, inside: list[Graph], marks: list[int], box: int, kernel: Sequence[int]) -> None:
        """A group, branch or loop: its graphs read what it reads, and their results are its own."""
        op = node.op
        if isinstance(op, Fused):
            number = next(self._kernels.get((str(node.location), op.label or op.name), iter(())), None)
            kernel = kernel if number is None else (self.marks.kernel(number),)
        self.boxes.append([getattr(op, "label", "") or op.name, getattr(op, "kind", op.name),
                           ", ".join(map(str, node.result_types)), [*marks, *kernel], box])
        here = len(self.boxes) - 1
        results: list[set[int]] = [set() for _ in node.results]
        for graph in inside:
            operands = node.operands[len(node.operands) - len(graph.params):]  # a branch's come behind its index
            for param, operand in zip(graph.params, operands):
                self._sources[param] = self._sources.get(operand, [])
                if operand in self._weights:
                    self._weights[param] = self._weights[operand]
            self._block(graph, here, kernel)
            if graph is not getattr(op, "condition", None):
                for found, result in zip(results, graph.results):
                    found.update(self._sources.get(result, ()))
        self._sources.update((result, sorted(found)) for result, found in zip(node.results, results))


def family(node: Node) -> str:
    """The file of the operator's home."""
    module = type(node.op).__module__.split(".ops.")[-1]
    return module.split(".")[0]

