"""In which dtype do constant weights lie in memory?  In a narrower one where the user says so, widened where they are
used.

A product with few rows runs as fast as its weights arrive, so half the bytes are half the time. Arithmetic stays
float32. What a weight w loses (nothing else is rounded):

    bfloat16  at most 2^-8 |w|                              float16  2^-11 |w|, and weights beyond 65504 stay float32
    int8      max|w| / 254 of its output channel            int4     max|w| / 8 of its group of 32 weights

int8 is symmetric with one scale for each output channel; int4 has a float16 scale for each group along the sum and the
codes 0 to 15 around 8, the largest weight of a group being exact at one end (as in llama.cpp's Q4_0). Where groups do
not divide the sum, int4 is int8.
"""

from __future__ import annotations

import numpy as np

from ..core.dtypes import as_dtype, float32
from ..core.options import Options
from ..core.remarks import Remarks
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.dequantize import Dequantize
from ..ops.elementwise import Cast
from ..targets.target import Target
from .weights import weight_layout

LEAST_WEIGHTS = 1 << 12  # fewer are not worth their error
GROUP = 32  # int4 weights that share a scale


def narrow_weights(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph` with the float32 constants of its contractions as `options.weights` says."""
    if options.weights is None:
        return graph

    def transform(builder: Builder, node: Node, operands):
        op = map_subgraphs(node.op, lambda body: narrow_weights(body, target, options, remarks))
        position = _weights_of(node, target)
        if position is None:
            return builder.emit_all(op, *operands)
        old = operands[position]
        found = _narrow(builder, old, node, position, options.weights)
        where = f"{old.op.label or 'weights'} {old.type}"
        if found is None:
            remarks.add("weights", where, False, f"they do not fit {options.weights}")
            return None
        remarks.add("weights", where, True, f"stored as {options.weights}")
        operands = list(operands)
        operands[position] = found
        return builder.emit_all(op, *operands)
    return rebuild(graph, transform=transform, fold=False)


def _weights_of(node: Node, target: Target) -> int | None:
    """Which operand of a contraction is constant weights that its kernel packs, and that are large enough."""
    if not isinstance(node.op, Contract) or node.results[0].dtype != float32:
        return None
    return next((i for i, o in reversed(list(enumerate(node.operands))) if isinstance(o.op, Constant)
                 and o.type.size >= LEAST_WEIGHTS and weight_layout(node, i, 0, target) is not None), None)


def _narrow(builder: Builder, weights: Value, node: Node, position: int, kind: str) -> Value | None:
    """The weights with their values rounded to `kind`; None where they can't be."""
    array, label = weights.op.array, weights.op.label
    if kind in ("bfloat16", "float16"):
        with np.errstate(over="ignore"):
            small = array.astype(as_dtype(kind).numpy)
        if not np.isfinite(small.astype(np.float32)).all():
            return None
        return builder.emit(Cast(float32), builder.constant(small, label))
    axis = _summed_axis(node.op, position)
    if axis is None or not np.isfinite(array).all():
        return None
    if kind == "int4" and array.shape[axis] % GROUP == 0:
        op, (codes, scales) = Dequantize(axis, GROUP, 4, 8), _to_int4(array, axis)
    else:
        op, (codes, scales) = Dequantize(axis, array.shape[axis]), _to_int8(array, axis)
    return builder.emit(op, builder.constant(codes, label), builder.constant(scales))


def _summed_axis(op: Contract, position: int) -> int | None:
    """The axis of a weight matrix that is summed over; None where weights are no matrix."""
    letters, result = op.terms[position], op.terms[2]
    axes = [i for i, c in enumerate(letters) if c not in result]
    return axes[0] if len(letters) == 2 and len(axes) == 1 else None


def _to_int8(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    scales = np.abs(array).max(axis=axis, keepdims=True) / np.float32(127)
    safe = np.where(scales == 0, np.float32(1), scales)
    return np.rint(array / safe).astype(np.int8), scales.astype(np.float32)


def _to_int4(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(two codes a byte along `axis`, a scale for each GROUP of them)."""
    grouped = np.moveaxis(array, axis, 0).reshape(array.shape[axis] // GROUP, GROUP, -1)
    at = np.abs(grouped).argmax(axis=1, keepdims=True)
    scales = (np.take_along_axis(grouped, at, 1) / np.float32(-8)).astype(np.float16)
    wide = scales.astype(np.float32)
    codes = np.clip(np.rint(grouped / np.where(wide == 0, np.float32(1), wide)) + 8, 0, 15).astype(np.uint8)
    bytes_ = (codes[:, ::2] | codes[:, 1::2] << 4).reshape(array.shape[axis] // 2, -1)
    return tuple(np.ascontiguousarray(np.moveaxis(a, 0, axis)) for a in (bytes_, scales.reshape(len(scales), -1)))
