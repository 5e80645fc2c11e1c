"""How much work is a graph?  Weighted operations, to see that a rewrite never makes a graph costlier."""

import numpy as np

from lamina.compiler.core.dims import evaluate, symbols_of
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.graph.graph import Graph, subgraphs

#: Elementwise operators by how many additions they cost, about.
_WEIGHTS = {"pow": 40, "atan2": 20, "div": 4, "floor_div": 6, "mod": 6, "rem": 6, "sqrt": 4, "rsqrt": 4}
_SIMPLE = {"add", "sub", "mul", "neg", "abs", "max", "min", "and", "or", "xor", "not", "compare", "select", "cast",
           "shl", "shr", "sign", "floor", "ceil", "round", "trunc", "is_nan", "is_inf", "contract", "conv", "reduce"}
SYMBOL = 8  # the extent that symbolic dims are taken to have, where their facts allow it


def extents_of(graph: Graph) -> dict[str, int]:
    """An extent for each symbol of `graph` that its facts allow, near SYMBOL."""
    return {s.name: min(s.upper, max(s.lower, SYMBOL) // s.multiple * s.multiple or s.multiple) for s in graph.symbols}


def work(graph: Graph, extents: dict[str, int] | None = None) -> int:
    """Weighted operations of one run: bodies of control flow count once, views and constants nothing."""
    extents = extents_of(graph) if extents is None else extents
    total = 0
    for node in graph.nodes:
        inner = list(subgraphs(node.op))
        if inner:
            total += sum(work(g, extents) for g in inner)
            continue
        weight = _WEIGHTS.get(node.op.name, 1 if node.op.name in _SIMPLE else 10)
        flops = node.op.flops(*(o.type for o in node.operands))
        total += weight * evaluate(flops, {s.name: SYMBOL for s in symbols_of(flops)} | extents)
    return total


def random_arrays(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """An array for each parameter: small whole numbers, so that sums and products of floats are exact; bools are
    random."""
    rng = np.random.default_rng(seed)
    extents = extents_of(graph)
    arrays = []
    for param in graph.params:
        shape = tuple(evaluate(d, extents) for d in param.shape)
        low = 0 if as_dtype(param.dtype).kind in ("uint", "bool") else -3
        arrays.append(rng.integers(low, 2 if param.dtype.is_bool else 4, shape).astype(param.dtype.numpy))
    return arrays
