"""Which functions make arrays from nothing, or from plain Python values?

New floating arrays are float32, integers int64. Inside a traced function the results are traced arrays, like all
others.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, ceil_div
from ...compiler.core.dtypes import DType, as_dtype, float32, int64, uint32
from ...compiler.core.errors import UnsupportedError
from ...compiler.ops.constant import Iota
from ...compiler.ops.random import RandomBits
from .elementwise import add, astype, divide, equal, greater_equal, multiply, subtract
from .linear_algebra import ramp
from .manipulation import reshape
from .operands import (Array, as_array, as_operand, as_shape, broadcast, cast, dtype_of, result_dtype, shape_of,
                       weak_kind)
from .tracer import Tracer, current_trace, emit, emit_traced, shape_error, user_location


def _here(array: Array) -> Array:
    """`array` as a tracer while a function is traced, so that traced code sees one kind of array."""
    trace = current_trace()
    return array if trace is None or isinstance(array, Tracer) else Tracer(trace, trace.lift(array))


def require_cpu(device) -> None:
    """Arrays outside of compiled functions lie in the memory of the CPU: any other device is an UnsupportedError."""
    if device not in (None, "cpu"):
        raise UnsupportedError(f"there is no device {device!r} for arrays", location=user_location(),
                               hint='arrays are made on "cpu"; lm.jit(device=) says where a function runs')


def asarray(x, /, dtype=None, *, copy: bool | None = None, device=None) -> Array:
    """x as an array: Python floats become float32, integers int64, in nested lists too; arrays keep their dtype."""
    require_cpu(device)
    array = as_array(x, None if dtype is None else as_dtype(dtype))
    return _here(array.copy() if copy and isinstance(array, np.ndarray) else array)


def array(x, /, dtype=None, *, copy: bool = True) -> Array:
    """As `asarray`, but a copy unless told otherwise."""
    return asarray(x, dtype, copy=copy)


def from_dlpack(x, /, *, copy: bool | None = None, device=None) -> Array:
    """The array that `x` exports through DLPack, without a copy where that can be and `copy` is not True."""
    require_cpu(device)
    return _here(np.array(np.from_dlpack(x), copy=bool(copy) or None))


def full(shape, fill_value, dtype=None, *, device=None) -> Array:
    """An array of `shape` whose elements all are `fill_value`."""
    require_cpu(device)
    shape = as_shape(shape)
    value = as_operand(fill_value, as_dtype(dtype) if dtype is not None else result_dtype(fill_value))
    if current_trace() is None and isinstance(value, np.ndarray) and not any(isinstance(d, DimExpr) for d in shape):
        return np.full(shape, value, value.dtype)
    return broadcast(_here(value), shape)


def zeros(shape, dtype=float32, *, device=None) -> Array:
    """An array of zeros."""
    return full(shape, 0, float32 if dtype is None else dtype, device=device)


def ones(shape, dtype=float32, *, device=None) -> Array:
    """An array of ones."""
    return full(shape, 1, float32 if dtype is None else dtype, device=device)


def empty(shape, dtype=float32, *, device=None) -> Array:
    """An array of zeros: lamina leaves nothing undefined."""
    return zeros(shape, dtype, device=device)


def full_like(x, /, fill_value, dtype=None, *, shape=None, device=None) -> Array:
    """An array of x's shape and dtype whose elements all are `fill_value`."""
    return full(shape_of(x) if shape is None else shape, fill_value, dtype_of(as_array(x)) if dtype is None else dtype,
                device=device)


def zeros_like(x, /, dtype=None, *, shape=None, device=None) -> Array:
    """Zeros of x's shape and dtype."""
    return full_like(x, 0, dtype, shape=shape, device=device)


def ones_like(x, /, dtype=None, *, shape=None, device=None) -> Array:
    """Ones of x's shape and dtype."""
    return full_like(x, 1, dtype, shape=shape, device=device)


def empty_like(x, /, dtype=None, *, shape=None, device=None) -> Array:
    """Zeros of x's shape and dtype: lamina leaves nothing undefined."""
    return zeros_like(x, dtype, shape=shape, device=device)


# ---- ramps -----------------------------------------------------------------------------------------------------------
def arange(start, /, stop=None, step=1, *, dtype=None, device=None) -> Array:
    """start, start + step, ... before `stop` (0, 1, ... before the only argument): int64, or float32 where one is a
    float.

    `start` and `stop` may be symbolic dims.
    """
    require_cpu(device)
    start, stop = (0, start) if stop is None else (start, stop)
    for bound in (start, stop, step):
        if isinstance(bound, Tracer):
            raise shape_error("lm.arange with a traced bound: the result's shape would not be known",
                              hint="take sizes from x.shape, or name the argument in static_argnames")
    numbers = (b if weak_kind(b) is not None else b.item() for b in (start, stop, step))
    dtype = as_dtype(dtype) if dtype is not None else result_dtype(*numbers)
    if isinstance(start, DimExpr) or isinstance(stop, DimExpr):
        return _symbolic_ramp(start, stop, int(step), dtype)
    values = np.arange(start, stop, step)
    if current_trace() is None or values.dtype.kind != "i":
        return _here(as_array(values, dtype))
    return _counted(len(values), int(start), int(step), dtype)


def _symbolic_ramp(start: Dim, stop: Dim, step: int, dtype: DType) -> Array:
    count = ceil_div(stop - start, step) if step > 0 else ceil_div(start - stop, -step)
    return _counted(count, start, step, dtype)


def _counted(count: Dim, start: Dim, step: int, dtype: DType) -> Array:
    values = emit_traced(Iota((count,), 0, int64))
    values = multiply(values, step) if step != 1 else values
    return cast(add(values, start) if isinstance(start, DimExpr) or start != 0 else values, dtype)


def linspace(start, stop, /, num: int = 50, *, dtype=None, endpoint: bool = True, device=None) -> Array:
    """`num` numbers from `start` to `stop` (without it where not `endpoint`) at equal distances."""
    require_cpu(device)
    dtype = as_dtype(dtype) if dtype is not None else result_dtype(start, stop, 1.0)
    if not isinstance(start, Tracer) and not isinstance(stop, Tracer):
        return _here(as_array(np.linspace(start, stop, num, endpoint=endpoint, dtype=np.float64), dtype))
    start, stop = as_operand(start, dtype), as_operand(stop, dtype)
    part = divide(cast(ramp((num,), 0, start if isinstance(start, Tracer) else stop), dtype),
                  max(1, num - 1 if endpoint else num))
    return add(multiply(start, subtract(1, part)), multiply(stop, part))


def logspace(start: float, stop: float, /, num: int = 50, *, base: float = 10.0, dtype=None,
             endpoint: bool = True) -> Array:
    """`num` numbers from base ** start to base ** stop, each a constant multiple of the one before."""
    return _here(as_array(np.logspace(start, stop, num, endpoint=endpoint, base=base),
                          as_dtype(dtype) if dtype is not None else float32))


# ---- matrices --------------------------------------------------------------------------------------------------------
def eye(n_rows: Dim, n_cols: Dim | None = None, /, *, k: int = 0, dtype=float32, device=None) -> Array:
    """Ones on the k-th diagonal of n_rows x n_cols, zeros elsewhere."""
    require_cpu(device)
    return astype(equal(*_positions(n_rows, n_cols, k)), dtype)


def identity(n: Dim, /, dtype=float32) -> Array:
    """The identity matrix."""
    return eye(n, dtype=dtype)


def tri(n_rows: Dim, n_cols: Dim | None = None, /, k: int = 0, dtype=float32) -> Array:
    """Ones on and below the k-th diagonal, zeros above it."""
    column, row = _positions(n_rows, n_cols, k)
    return astype(greater_equal(row, column), dtype)


def _positions(rows: Dim, columns: Dim | None, k: int) -> tuple[Array, Array]:
    """The column, and the row plus `k`, of each element."""
    shape = as_shape((rows, rows if columns is None else columns))
    like = _here(np.zeros(()))
    return ramp(shape, 1, like), add(ramp(shape, 0, like), k)


def meshgrid(*arrays, indexing: str = "xy") -> list[Array]:
    """Vectors spread over a grid, one array for each; "xy" exchanges the first two axes, "ij" does not."""
    if indexing not in ("xy", "ij"):
        raise shape_error(f"meshgrid has no indexing {indexing!r}", hint="xy or ij")
    vectors = [reshape(a, (-1,)) if len(shape_of(a)) == 0 else as_array(a) for a in arrays]
    rank = len(vectors)
    order = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    shape = tuple(vectors[i].shape[0] for i in order)
    grids = []
    for i, v in enumerate(vectors):
        along = [1] * rank
        along[order.index(i)] = v.shape[0]
        grids.append(broadcast(reshape(v, along), shape))
    return grids


def indices(shape: Sequence[Dim], /) -> list[Array]:
    """For each axis of `shape`, the position along it of every element (int64)."""
    shape = as_shape(shape)
    like = _here(np.zeros(()))
    return [ramp(shape, axis, like) for axis in range(len(shape))]


def one_hot(x, num_classes: Dim, /, *, dtype=float32, axis: int = -1) -> Array:
    """1 at the class that x (integers) names along a new `axis` of `num_classes`, 0 elsewhere; all 0 where it names
    none."""
    from .manipulation import expand_dims
    x = as_array(x)
    rank = len(x.shape) + 1
    place = axis + rank if axis < 0 else axis
    spread = expand_dims(x, place)
    shape = tuple(num_classes if i == place else d for i, d in enumerate(spread.shape))
    return astype(equal(cast(spread, int64), ramp(shape, place, x)), dtype)


def random_bits(key, shape, /) -> Array:
    """Random uint32 of `shape` from a `key` of two uint32: a pure function of both, the same on every device.

    Threefry-2x32 with 20 rounds (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011).
    """
    return emit(RandomBits(as_shape(shape)), as_array(key, uint32))
