"""What differs between two graphs?  Nodes that one has and the other has not, by what they compute rather than by their
names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

from ...compiler.graph.graph import Graph, Node, Value
from ...compiler.ops.constant import Constant


@dataclass(frozen=True)
class Difference:
    """`removed` are nodes of the first graph alone, `added` of the second; of each only those whose operands both
    graphs have: where the difference begins. `ops` are (count in the first, in the second) by op, where they differ."""

    removed: tuple[Node, ...]
    added: tuple[Node, ...]
    ops: dict[str, tuple[int, int]]
    is_same: bool


def compare_graphs(first: Graph, second: Graph) -> Difference:
    """The difference of two graphs. Their parameters correspond by position."""
    a, b = _digests(first), _digests(second)
    removed, added = _alone(first, a, b), _alone(second, b, a)
    counts = [Counter(n.op.name for n in graph.nodes) for graph in (first, second)]
    ops = {op: (counts[0][op], counts[1][op]) for op in sorted(counts[0].keys() | counts[1].keys())
           if counts[0][op] != counts[1][op]}
    results = [[digests[r] for r in graph.results] for graph, digests in ((first, a), (second, b))]
    return Difference(removed, added, ops, results[0] == results[1] and not (removed or added or ops))


def _digests(graph: Graph) -> dict[Value, bytes]:
    """What each value is computed from and how, as a hash (hash consing): equal for equal expressions of the
    parameters."""
    found: dict[Value, bytes] = {}
    for i, param in enumerate(graph.params):
        found[param] = _digest(f"param {i} {param.type}")
    for node in graph.nodes:
        attributes = node.op.digest if isinstance(node.op, Constant) else str(node.op.attributes())
        head = _digest(node.op.name, attributes, *(found[o].hex() for o in node.operands), *map(str, node.result_types))
        for i, result in enumerate(node.results):
            found[result] = head + bytes([i % 256])
    return found


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


def _alone(graph: Graph, own: dict[Value, bytes], other: dict[Value, bytes]) -> tuple[Node, ...]:
    """The nodes that the other graph has not, though it has their operands. What is computed from constants alone
    counts as an operand that it has, and as a node of its own where there is nothing else."""
    known = set(other.values())
    numbers: set[Value] = set()
    begins: list[Node] = []
    constant: list[Node] = []
    for node in graph.nodes:
        is_number = all(o in numbers for o in node.operands)
        numbers.update(node.results if is_number else ())
        if all(own[o] in known or o in numbers for o in node.operands) and any(own[r] not in known
                                                                               for r in node.results):
            (constant if is_number else begins).append(node)
    return tuple(begins or constant)
