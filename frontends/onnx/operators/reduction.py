"""Reductions, arg-reductions, sorting."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dims import DimExpr, product
from ....compiler.core.dtypes import as_dtype, float32
from ....compiler.ops import ArgReduce, Reduce, Sort
from ... import array as lm
from ...array.operands import cast, dtype_of, extent
from ...array.tracer import emit
from ..table import Refusal, operator
from .shape import piece, reshape_to
from .values import axes_of, axis_of, known, known_ints


def reduced(kind: str, x, axes: tuple[int, ...]):
    """`kind` of `x` over `axes`, which stay with extent 1."""
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return reshape_to(emit(Reduce(kind, axes), x), kept) if axes else x


def mean(x, axes: tuple[int, ...]):
    """The mean over `axes`, which stay with extent 1; integers are divided as ONNX divides them, toward zero."""
    count = product(x.shape[a] for a in axes)
    total, dtype = reduced("sum", x, axes), dtype_of(x)
    if isinstance(count, DimExpr):
        return total / cast(extent(count), dtype) if dtype.is_float else total // cast(extent(count), dtype)
    return total * (1.0 / count if count else float("nan")) if dtype.is_float else \
        cast(cast(total, as_dtype("float64")) / float(max(count, 1)), dtype)


def _log_sum_exp(x, axes):
    top = reduced("max", x, axes)
    top = lm.where(lm.isfinite(top), top, lm.zeros_like(top))
    return lm.log(reduced("sum", lm.exp(x - top), axes)) + top


def _maximum(kind):
    return lambda x, axes: reduced(kind, x, axes)


def _in_float(function):
    """`function` computed in float32 where the input holds integers, and cast back."""
    def computed(x, axes):
        dtype = dtype_of(x)
        return function(x, axes) if dtype.is_float else cast(function(cast(x, float32), axes), dtype)
    return computed


_REDUCTIONS = {
    "ReduceSum": lambda x, axes: reduced("sum", x, axes),
    "ReduceMean": mean,
    "ReduceMax": _maximum("max"),
    "ReduceMin": _maximum("min"),
    "ReduceProd": lambda x, axes: reduced("prod", x, axes),
    "ReduceL1": lambda x, axes: reduced("sum", lm.abs(x), axes),
    "ReduceL2": _in_float(lambda x, axes: lm.sqrt(reduced("sum", x * x, axes))),
    "ReduceLogSum": _in_float(lambda x, axes: lm.log(reduced("sum", x, axes))),
    "ReduceLogSumExp": _in_float(_log_sum_exp),
    "ReduceSumSquare": lambda x, axes: reduced("sum", x * x, axes),
}


def _reduction(name: str, function) -> None:
    def by_attribute(x, *, axes=None, keepdims=1):
        over = axes_of(axes, x)
        result = function(x, over)
        return result if keepdims else reshape_to(result, tuple(d for i, d in enumerate(x.shape) if i not in over))

    def by_input(x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
        over = known_ints(axes, "axes") if axes is not None else ()
        if not over and noop_with_empty_axes:
            return function(x, ())
        return by_attribute(x, axes=over or None, keepdims=keepdims)
    operator(name, 13 if name == "ReduceSum" else 18)(by_input)
    operator(name, 1)(by_attribute)


for _name, _function in _REDUCTIONS.items():
    _reduction(_name, _function)


def _arg(kind: str, x, axis: int, keepdims: int, select_last_index: int):
    axis = axis_of(axis, x)
    at = emit(ArgReduce(kind, axis), lm.flip(x, axis=axis) if select_last_index else x)
    if select_last_index:
        at = lm.asarray(x.shape[axis] - 1) - at
    return lm.expand_dims(at, axis) if keepdims else at


@operator("ArgMax")
def arg_max(x, *, axis=0, keepdims=1, select_last_index=0):
    return _arg("max", x, axis, keepdims, select_last_index)


@operator("ArgMin")
def arg_min(x, *, axis=0, keepdims=1, select_last_index=0):
    return _arg("min", x, axis, keepdims, select_last_index)


@operator("TopK", 11)
def top_k(x, count, *, axis=-1, largest=1, sorted=1):
    (count,) = known_ints(count, "K")
    axis = axis_of(axis, x)
    values, indices = emit(Sort(axis, bool(largest)), x)
    return piece(values, axis, 0, count), piece(indices, axis, 0, count)


@operator("TopK", 10)
def top_k_10(x, count, *, axis=-1):
    return top_k(x, count, axis=axis)


@operator("TopK", 1)
def top_k_1(x, *, k, axis=-1):
    return top_k(x, np.array([k]), axis=axis)


@operator("Unique", 11)
def unique(x, *, axis=None, sorted=1):
    """Of a known array only: the number of results depends on the elements."""
    x = known(x, "Unique's input, which decides the result's shape,")
    values, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        values, first, inverse, counts = np.take(values, order, axis or 0), first[order], rank[inverse], counts[order]
    return values, *(a.astype(np.int64) for a in (first, inverse, counts))


@operator("LpNormalization")
def lp_normalization(x, *, axis=-1, p=2):
    if p not in (1, 2):
        raise Refusal(f"p is {p}, ONNX has 1 and 2")
    axes = (axis_of(axis, x),)
    length = reduced("sum", lm.abs(x), axes) if p == 1 else lm.sqrt(reduced("sum", x * x, axes))
    return x / lm.where(length == 0, lm.ones_like(length), length)
