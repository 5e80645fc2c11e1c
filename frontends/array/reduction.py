"""Which functions combine the elements of axes?  Sums and other statistics, running sums, tests of any and all."""

from __future__ import annotations

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, format_dim, product
from ...compiler.core.dtypes import DType, as_dtype, bool_, float32, int64, uint64
from ...compiler.ops.reduce import Cumulative, Reduce
from .elementwise import (equal, isclose, divide, isfinite, isnan, logical_not, maximum, minimum, multiply, not_equal,
                          sqrt, subtract, where)
from .elementwise import add, exp, log
from .identity import stop_gradient
from .manipulation import concat, moveaxis, ravel, reshape, slice_axis
from .operands import (Array, as_array, as_floating, as_operand, broadcast, cast, dtype_of, normalize_axes,
                       normalize_axis, shape_text)
from .tracer import emit, shape_error


def reduce(kind: str, x: Array, axis=None, keepdims: bool = False) -> Array:
    """`kind` ("sum", "prod", "max", "min") of x over `axis`."""
    axes = normalize_axes(axis, len(x.shape))
    result = emit(Reduce(kind, axes), x) if axes else x
    return reshape(result, tuple(1 if i in axes else d for i, d in enumerate(x.shape))) if keepdims else result


def accumulator_dtype(x: Array, dtype=None) -> DType:
    """The dtype of sums and products: `dtype` if given, at least 64 bits for integers, int64 for bool, else x's."""
    if dtype is not None:
        return as_dtype(dtype)
    own = dtype_of(x)
    return own if own.is_float else uint64 if own.kind == "uint" else int64


def count_of(x: Array, axis) -> Dim:
    """How many elements a reduction of x over `axis` combines."""
    return product(x.shape[a] for a in normalize_axes(axis, len(x.shape)))


def sum(x, /, axis=None, dtype=None, *, keepdims: bool = False, initial=None, where=None) -> Array:
    """The sum over `axis` (all axes by default): integers as int64 or uint64, floats in their dtype, unless `dtype`
    says."""
    return _total("sum", x, axis, dtype, keepdims, initial, where)


def prod(x, /, axis=None, dtype=None, *, keepdims: bool = False, initial=None, where=None) -> Array:
    """The product over `axis` (all axes by default), in dtypes as for `sum`."""
    return _total("prod", x, axis, dtype, keepdims, initial, where)


def _total(kind, x, axis, dtype, keepdims, initial, mask) -> Array:
    x = as_array(x)
    x = cast(x, accumulator_dtype(x, dtype))
    if mask is not None:
        x = where(mask, x, as_operand(0 if kind == "sum" else 1, dtype_of(x)))
    total = reduce(kind, x, axis, keepdims)
    if initial is None:
        return total
    return (add if kind == "sum" else multiply)(total, as_operand(initial, dtype_of(x)))


def max(x, /, axis=None, *, keepdims: bool = False, initial=None) -> Array:
    """The largest element over `axis` (all axes by default); NaN where there is one."""
    return _extreme("max", x, axis, keepdims, initial)


def min(x, /, axis=None, *, keepdims: bool = False, initial=None) -> Array:
    """The smallest element over `axis` (all axes by default); NaN where there is one."""
    return _extreme("min", x, axis, keepdims, initial)


def _extreme(kind, x, axis, keepdims, initial) -> Array:
    x = as_array(x)
    if initial is None and count_of(x, axis) == 0 and product(x.shape) == 0:
        raise shape_error(f"lm.{kind} of no elements: shape {shape_text(x.shape)}, axis {axis}",
                          hint="`initial` is the result where there are none")
    extreme = reduce(kind, x, axis, keepdims)
    if initial is None:
        return extreme
    return (maximum if kind == "max" else minimum)(extreme, as_operand(initial, dtype_of(x)))


def ptp(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The largest minus the smallest element over `axis`."""
    return subtract(max(x, axis=axis, keepdims=keepdims), min(x, axis=axis, keepdims=keepdims))


def any(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """Whether any element over `axis` is nonzero."""
    return reduce("max", cast(as_array(x), bool_), axis, keepdims)


def all(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """Whether every element over `axis` is nonzero."""
    return reduce("min", cast(as_array(x), bool_), axis, keepdims)


def count_nonzero(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """How many elements over `axis` are nonzero (int64)."""
    return sum(not_equal(as_array(x), 0) if not dtype_of(as_array(x)).is_bool else x, axis=axis, keepdims=keepdims)


def allclose(x, y, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Whether all elements are close, as `isclose` says."""
    return all(isclose(x, y, rtol, atol, equal_nan))


def array_equal(x, y, /) -> Array:
    """Whether shapes and all elements are equal."""
    x, y = as_array(x), as_array(y)
    return all(equal(x, y)) if tuple(x.shape) == tuple(y.shape) else np.asarray(False)


# ---- statistics ------------------------------------------------------------------------------------------------------
def _wide(x, dtype=None) -> tuple[Array, DType]:
    """x in the float dtype to compute in, and the dtype of the result: 16-bit floats are computed with in float32."""
    x = as_floating(x)
    dtype = dtype_of(x) if dtype is None else as_dtype(dtype)
    return cast(x, dtype.compute if dtype.is_float else float32), dtype


def mean(x, /, axis=None, dtype=None, *, keepdims: bool = False) -> Array:
    """The mean over `axis` (all axes by default): bool and integers as float32."""
    x, dtype = _wide(x, dtype)
    return cast(divide(reduce("sum", x, axis, keepdims), count_of(x, axis)), dtype)


def var(x, /, axis=None, *, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None) -> Array:
    """The variance over `axis`: squared distances from the mean, summed, over their number less `correction` (or
    `ddof`)."""
    x, dtype = _wide(x)
    distance = subtract(x, mean(x, axis=axis, keepdims=True))
    count = maximum(subtract(as_array(count_of(x, axis), dtype_of(x)), correction if ddof is None else ddof), 0)
    return cast(divide(reduce("sum", multiply(distance, distance), axis, keepdims), count), dtype)


def std(x, /, axis=None, *, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None) -> Array:
    """The standard deviation over `axis`: the square root of `var`."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims, ddof=ddof))


def average(x, /, axis=None, *, weights=None, keepdims: bool = False) -> Array:
    """The mean over `axis`, weighted where `weights` (of x's shape, or along one axis) are given."""
    if weights is None:
        return mean(x, axis=axis, keepdims=keepdims)
    x, weights = as_floating(x), as_floating(weights)
    if tuple(weights.shape) != tuple(x.shape):
        if len(weights.shape) != 1 or axis is None:
            raise shape_error(f"weights of shape {shape_text(weights.shape)} do not fit {shape_text(x.shape)}",
                              hint="give weights of x's shape, or one for each element of `axis`")
        along = [1] * len(x.shape)
        along[normalize_axis(axis, len(x.shape))] = weights.shape[0]
        weights = broadcast(reshape(weights, along), tuple(x.shape))
    return divide(sum(multiply(x, weights), axis=axis, keepdims=keepdims), sum(weights, axis=axis, keepdims=keepdims))


def median(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The middle of the sorted elements over `axis` (the mean of two where their number is even); NaN where there is
    one."""
    x = as_floating(x)
    rank, axes = len(x.shape), normalize_axes(axis, len(x.shape))
    count = count_of(x, axis)
    if isinstance(count, DimExpr) or count == 0:
        raise shape_error(f"lm.median needs a known number of elements, not {format_dim(count)}")
    kept = [i for i in range(rank) if i not in axes]
    rows = reshape(moveaxis(x, kept, list(range(len(kept)))), (*(x.shape[i] for i in kept), count))
    from .searching import sort
    ordered = sort(rows, axis=-1)
    middle = slice_axis(ordered, len(kept), (count - 1) // 2, 2 - count % 2)
    # NaN sorts last: one anywhere makes the result NaN
    result = add(mean(middle, axis=-1), reduce("max", where(isnan(rows), rows, as_operand(0, dtype_of(rows))), -1))
    return reshape(result, tuple(1 if i in axes else d for i, d in enumerate(x.shape))) if keepdims else result


def logsumexp(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, without overflow."""
    x, dtype = _wide(x)
    largest = stop_gradient(reduce("max", x, axis, True))
    shift = where(isfinite(largest), largest, as_operand(0, dtype_of(x)))
    result = add(log(reduce("sum", exp(subtract(x, shift)), axis, True)), shift)
    axes = normalize_axes(axis, len(x.shape))
    return cast(result if keepdims else reshape(result, tuple(d for i, d in enumerate(x.shape) if i not in axes)),
                dtype)


def _without_nan(x: Array, value) -> Array:
    return where(isnan(x), as_operand(value, dtype_of(x)), x)


def nansum(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The sum over `axis` of what is not NaN."""
    return sum(_without_nan(as_array(x), 0), axis=axis, keepdims=keepdims)


def nanmean(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The mean over `axis` of what is not NaN."""
    x = as_floating(x)
    count = count_nonzero(logical_not(isnan(x)), axis=axis, keepdims=keepdims)
    return divide(nansum(x, axis=axis, keepdims=keepdims), cast(count, dtype_of(x)))


def nanmax(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The largest element over `axis` that is not NaN; NaN where all are."""
    x = as_floating(x)
    largest = max(_without_nan(x, -np.inf), axis=axis, keepdims=keepdims)
    return where(all(isnan(x), axis=axis, keepdims=keepdims), as_operand(np.nan, dtype_of(x)), largest)


def nanmin(x, /, axis=None, *, keepdims: bool = False) -> Array:
    """The smallest element over `axis` that is not NaN; NaN where all are."""
    x = as_floating(x)
    smallest = min(_without_nan(x, np.inf), axis=axis, keepdims=keepdims)
    return where(all(isnan(x), axis=axis, keepdims=keepdims), as_operand(np.nan, dtype_of(x)), smallest)


# ---- running totals --------------------------------------------------------------------------------------------------
def cumulative(kind: str, x: Array, axis: int, reverse: bool = False, exclusive: bool = False) -> Array:
    """The running `kind` ("sum", "prod", "max", "min") of x along `axis`, from the end where `reverse`, without x[i]
    itself where `exclusive`."""
    return emit(Cumulative(kind, normalize_axis(axis, len(x.shape)), reverse, exclusive), x)


def cumulative_sum(x, /, *, axis: int | None = None, dtype=None, include_initial: bool = False) -> Array:
    """The running sum along `axis` (which may be left out for one axis); `include_initial` puts a 0 before it."""
    return _running("sum", x, axis, dtype, include_initial)


def cumulative_prod(x, /, *, axis: int | None = None, dtype=None, include_initial: bool = False) -> Array:
    """The running product along `axis` (which may be left out for one axis); `include_initial` puts a 1 before it."""
    return _running("prod", x, axis, dtype, include_initial)


def _running(kind, x, axis, dtype, include_initial) -> Array:
    x = as_array(x)
    if axis is None:
        if len(x.shape) != 1:
            raise shape_error(f"the running total of shape {shape_text(x.shape)} needs an axis")
        axis = 0
    axis = normalize_axis(axis, len(x.shape))
    x = cast(x, accumulator_dtype(x, dtype))
    result = cumulative(kind, x, axis)
    if not include_initial:
        return result
    first = broadcast(as_operand(0 if kind == "sum" else 1, dtype_of(x)), (*x.shape[:axis], 1, *x.shape[axis + 1:]))
    return concat([first, result], axis=axis)


def cumsum(x, /, axis: int | None = None, dtype=None) -> Array:
    """The running sum along `axis` (of the flattened array without one)."""
    return _running("sum", ravel(x) if axis is None else x, 0 if axis is None else axis, dtype, False)


def cumprod(x, /, axis: int | None = None, dtype=None) -> Array:
    """The running product along `axis` (of the flattened array without one)."""
    return _running("prod", ravel(x) if axis is None else x, 0 if axis is None else axis, dtype, False)


def cummax(x, /, axis: int = 0) -> Array:
    """The largest element so far along `axis`."""
    return cumulative("max", as_array(x), axis)


def cummin(x, /, axis: int = 0) -> Array:
    """The smallest element so far along `axis`."""
    return cumulative("min", as_array(x), axis)


def diff(x, /, n: int = 1, axis: int = -1, *, prepend=None, append=None) -> Array:
    """x[i + 1] - x[i] along `axis`, `n` times; of bool, whether they differ."""
    x = as_array(x)
    axis = normalize_axis(axis, len(x.shape))
    def as_end(end):
        end = as_array(end)
        return end if end.shape else broadcast(end, (*x.shape[:axis], 1, *x.shape[axis + 1:]))
    parts = [*(() if prepend is None else (as_end(prepend),)), x, *(() if append is None else (as_end(append),))]
    x = concat(parts, axis=axis)
    for _ in range(n):
        if x.shape[axis] == 0:
            break
        later, earlier = slice_axis(x, axis, 1, x.shape[axis] - 1), slice_axis(x, axis, 0, x.shape[axis] - 1)
        x = not_equal(later, earlier) if dtype_of(x).is_bool else subtract(later, earlier)
    return x


# NumPy's other names
amax, amin = max, min
