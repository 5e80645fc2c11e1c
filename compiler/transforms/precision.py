"""Which graph computes its products in 16 bits?  Contractions and convolutions take rounded operands, all else stays.

Micikevicius et al., "Mixed precision training" (ICLR 2018): products in half precision, everything that sums, and what
the caller sees, in float32. Casts stand next to the products, so that fusion makes them part of the kernels around, and
memory between two products holds 16 bits wherever no rounding is added by that.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..core.dtypes import DType, float32
from ..graph.builder import Builder
from ..graph.graph import Graph, Value, map_subgraphs
from ..ops.constants import splat
from ..ops.contract import Contract
from ..ops.conv import Conv
from ..ops.elementwise import Cast, Max, Min, Select
from ..ops.gather import Lookup
from ..ops.identity import StopGradient
from ..ops.op import Op
from ..ops.pool import Pool
from ..ops.rearrange import Broadcast, Pad, Reshape, Transpose
from ..ops.reduce import Reduce


def mix_precision(graph: Graph, compute: DType) -> Graph:
    """`graph`, its contractions and convolutions of float32 computed in `compute`; parameters and results keep their
    dtypes. Graphs inside ops are treated alike."""
    builder = Builder(graph.name)
    params = [builder.parameter(p.type, p.name) for p in graph.params]
    return builder.finish(_Mixer(builder, compute).emit(graph, params), graph.result_names)


class _Mixer:
    """Emits graphs into `builder`. `exact` holds, of float32 values that are a `compute` value cast, the latter;
    `rounded` those that were rounded."""

    def __init__(self, builder: Builder, compute: DType):
        self.builder = builder
        self.compute = compute
        self.exact: dict[Value, Value] = {}
        self.rounded: dict[Value, Value] = {}

    def emit(self, graph: Graph, arguments: Sequence[Value]) -> list[Value]:
        env = dict(zip(graph.params, arguments))
        for node in graph.nodes:
            self.builder.location = node.location
            env.update(zip(node.results, self._emit_op(node.op, [env[o] for o in node.operands])))
        return [env[r] for r in graph.results]

    def _emit_op(self, op: Op, operands: list[Value]) -> Sequence[Value]:
        if isinstance(op, (Contract, Conv)) and operands[0].dtype == float32:
            return (self._widened(self.builder.emit(op, *map(self.narrow, operands))),)
        if _chooses(op) and not (isinstance(op, Pad) and not self._holds(np.float32(op.value))):
            narrow = [self._exactly(o) if o.dtype == float32 else o for o in operands]
            if all(n is not None for n in narrow) and any(o in self.exact for o in operands):
                return (self._widened(self.builder.emit(op, *narrow)),)
        return self.builder.emit_all(map_subgraphs(op, lambda g: mix_precision(g, self.compute)), *operands)

    def _widened(self, x: Value) -> Value:
        wide = self.builder.emit(Cast(float32), x)
        self.exact[wide] = x
        return wide

    def narrow(self, x: Value) -> Value:
        """x rounded to `compute`; of a rearranged value, the rounded value rearranged, so that it is rounded once."""
        known = self.exact.get(x) or self.rounded.get(x)
        if known is None:
            if isinstance(x.op, (Reshape, Transpose, Broadcast, StopGradient)):
                known = self.builder.emit(x.op, self.narrow(*x.node.operands))
            else:
                known = self.builder.emit(Cast(self.compute), x)
            self.rounded[x] = known
        return known

    def _exactly(self, x: Value) -> Value | None:
        """x in `compute`, where nothing is rounded."""
        value = splat(x)
        return self.narrow(x) if value is not None and self._holds(value) else self.exact.get(x)

    def _holds(self, value: np.float32) -> bool:
        """Whether `compute` has this number."""
        with np.errstate(over="ignore"):
            return bool(value.astype(self.compute.numpy).astype(np.float32) == value)


def _chooses(op: Op) -> bool:
    """Whether the elements of the result are elements of the operands."""
    if isinstance(op, (Pool, Reduce)):
        return op.kind in ("max", "min")
    return op.is_view or isinstance(op, (Max, Min, Select, Lookup))
