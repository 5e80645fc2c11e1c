"""How do a function's arguments become operands of one op?  Arrays of definite dtypes, promoted, broadcast to one
shape."""

from __future__ import annotations

import numbers
from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, format_dim
from ...compiler.core.dtypes import FLOATS, DType, as_dtype, bool_, float32, int64, promote
from ...compiler.core.errors import DTypeError
from ...compiler.core.types import TensorType
from ...compiler.ops.constant import Iota
from ...compiler.ops.elementwise import Cast
from ...compiler.ops.rearrange import Broadcast, Reshape, Slice
from .tracer import Tracer, dtype_error, emit, emit_traced, leaked, shape_error, user_location

Array = np.ndarray | Tracer
#: Python scalars are weak: they take the dtype of the arrays that they meet. np.generic is not (its dtype was chosen).
_KINDS = {bool: 0, int: 1, float: 2}
_DEFAULTS = (bool_, int64, float32)


def dtype_of(x) -> DType:
    """The DType of an array, tracer or scalar."""
    if isinstance(x, Tracer):
        return x.dtype
    if isinstance(x, np.ndarray):
        return _known_dtype(x)
    kind = weak_kind(x)
    return _DEFAULTS[kind] if kind is not None else dtype_of(as_array(x))


def shape_of(x) -> tuple[Dim, ...]:
    return x.shape if isinstance(x, (Tracer, np.ndarray)) else as_array(x).shape


def weak_kind(x) -> int | None:
    """0, 1, 2 for what is or was a Python bool, int, float; None for what has a dtype of its own."""
    if isinstance(x, Tracer):
        return (0 if x.dtype.is_bool else 2 if x.dtype.is_float else 1) if x.weak else None
    if isinstance(x, DimExpr):
        return 1
    return _KINDS.get(type(x))


def as_array(x, dtype: DType | None = None) -> Array:
    """`x` as a tracer or NumPy array: nested lists of Python numbers become bool, int64 or float32, `dtype` if given.

    Tracers inside lists are stacked. Anything with `__array__` (torch tensors on the CPU) is read. Nothing is copied
    that is an array of the right dtype already.
    """
    if isinstance(x, Tracer):
        return cast(x, dtype) if dtype is not None else x
    if isinstance(x, DimExpr):
        return cast(extent(x), dtype or int64)
    if type(x) in _KINDS:
        with np.errstate(over="ignore"):  # -1e9 as a float16 is -inf, which is what masks mean by it
            return np.asarray(x, (dtype or _DEFAULTS[_KINDS[type(x)]]).numpy)
    if isinstance(x, (np.ndarray, np.generic)):
        array = np.asarray(x)
        _known_dtype(array)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return cast(array, dtype) if dtype is not None else array
    if isinstance(x, (list, tuple)):
        return _from_sequence(x, dtype)
    if hasattr(x, "__array__"):
        return as_array(np.asarray(x), dtype)
    if isinstance(x, numbers.Number):
        raise dtype_error(f"{x!r} of {type(x).__name__} can't be an array",
                          hint="lamina has real numbers only")
    if hasattr(x, "__dlpack__"):
        return as_array(np.from_dlpack(x), dtype)
    raise dtype_error(f"{type(x).__name__} can't be an array: {x!r}",
                      hint="arrays are NumPy arrays, numbers, nested lists of numbers and what has __array__")


def _known_dtype(array: np.ndarray) -> DType:
    try:
        return as_dtype(array.dtype)
    except DTypeError as error:
        raise dtype_error(f"lamina has no dtype for an array of {array.dtype}", hint=error.hint) from None


def _leaves(x):
    if isinstance(x, (list, tuple)):
        for item in x:
            yield from _leaves(item)
    else:
        yield x


def _from_sequence(x, dtype: DType | None) -> Array:
    if any(isinstance(leaf, (Tracer, DimExpr)) for leaf in _leaves(x)):
        from .manipulation import stack
        stacked = stack([as_array(item) for item in x])
        return cast(stacked, dtype) if dtype is not None else stacked
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise shape_error(f"a nested list is ragged: {error}", hint="pad its rows to one length") from None
    if dtype is None and (array.dtype == np.float64 or array.size == 0):
        strong = [leaf for leaf in _leaves(x) if isinstance(leaf, (np.ndarray, np.generic))]
        dtype = promote(*map(dtype_of, strong)) if strong else float32
        dtype = dtype if dtype.is_float else float32
    return as_array(array, dtype)


def cast(x: Array, dtype: DType) -> Array:
    """`x` with this dtype, by value; itself where it has it already."""
    if isinstance(x, Tracer):
        if x.dtype == dtype:
            return Tracer(x.owner, x.value) if x.weak else x
        return emit(Cast(dtype), x)
    return x if x.dtype == dtype.numpy else emit(Cast(dtype), x)


def extent(dim: Dim) -> Array:
    """The value of `dim` as an int64 scalar: read off a ramp at run time where the dim is symbolic."""
    if isinstance(dim, int):
        return np.asarray(dim, np.int64)
    ramp = emit_traced(Iota((dim + 1,), 0, int64))
    return emit(Reshape(()), emit(Slice((dim,), (1,), (1,)), ramp))


def result_dtype(*xs) -> DType:
    """The dtype that `xs` promote to: arrays keep theirs, Python scalars are weak."""
    strong = [x.dtype if isinstance(x, Tracer) else dtype_of(x) for x in xs if weak_kind(x) is None]
    weak = max((kind for kind in map(weak_kind, xs) if kind is not None), default=-1)
    if not strong:
        return _DEFAULTS[weak]
    try:
        dtype = promote(*strong)
    except DTypeError as error:
        error.location = user_location()
        raise
    kind = 0 if dtype.is_bool else 1 if dtype.is_integer else 2
    return dtype if kind >= weak else _DEFAULTS[weak]


def as_operand(x, dtype: DType) -> Array:
    """`x` as an operand of `dtype`; a Python integer that the dtype can't hold is a DTypeError."""
    if type(x) is int and not dtype.is_float and not dtype.is_bool and not dtype.minimum <= x <= dtype.maximum:
        raise dtype_error(f"the Python integer {x} is out of range for {dtype.name}",
                          hint="cast the array to a wider dtype first")
    return as_array(x, dtype)


def promoted(*xs, floating: bool = False) -> list[Array]:
    """`xs` as operands of one dtype and one shape; bool and integers become float32 where `floating` is asked for."""
    dtype = result_dtype(*xs)
    if floating and not dtype.is_float:
        dtype = float32
    return broadcast_arrays(*(as_operand(x, dtype) for x in xs))


def as_floating(x) -> Array:
    """`x` as an array of a floating dtype: bool and integers become float32."""
    x = as_array(x)
    return x if dtype_of(x) in FLOATS else cast(x, float32)


# ---- shapes ----------------------------------------------------------------------------------------------------------
def broadcast_shapes(*shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape that these broadcast to by NumPy's rules; two different dims can't meet unless one is the constant
    1."""
    if len({tuple(s) for s in shapes}) == 1:
        return tuple(shapes[0])
    result: list[Dim] = [1] * max((len(s) for s in shapes), default=0)
    for shape in shapes:
        for axis, dim in enumerate(shape, len(result) - len(shape)):
            if result[axis] == 1:
                result[axis] = dim
            elif dim != 1 and dim != result[axis]:
                symbolic = isinstance(dim, DimExpr) or isinstance(result[axis], DimExpr)
                raise shape_error("shapes " + ", ".join(map(shape_text,
                                                            shapes)) + f" don't broadcast: {format_dim(result[axis])} "
                                  f"meets {format_dim(dim)} on axis {axis - len(result)}",
                                  hint="give both axes the same symbolic dim" if symbolic else None)
    return tuple(result)


def shape_text(shape: Sequence[Dim]) -> str:
    return "[" + ", ".join(map(format_dim, shape)) + "]"


def broadcast(x: Array, shape: tuple[Dim, ...], record: bool = False) -> Array:
    """`x` repeated to `shape`, its axes aligned to the right; `record` keeps the repetition in the graph for arrays
    too."""
    if tuple(x.shape) == shape:
        return x
    if broadcast_shapes(x.shape, shape) != shape:
        raise shape_error(f"an array of shape {shape_text(x.shape)} can't be broadcast to {shape_text(shape)}")
    if isinstance(x, np.ndarray) and not record and not any(isinstance(d, DimExpr) for d in shape):
        return np.broadcast_to(x, shape)
    return emit_traced(Broadcast(shape, tuple(range(len(shape) - len(x.shape), len(shape)))), x)


def broadcast_arrays(*xs: Array) -> list[Array]:
    """`xs` repeated to their common shape: in the graph where one of them is a tracer."""
    shape = broadcast_shapes(*(x.shape for x in xs))
    record = in_trace(*xs)
    return [broadcast(x, shape, record) for x in xs]


def normalize_axis(axis: int, rank: int, name: str = "axis") -> int:
    """`axis` counted from the front; ShapeError where the rank has no such axis."""
    try:
        number = int(axis)
    except TypeError:
        raise shape_error(f"{name} is {axis!r}, an int was expected") from None
    if not -rank <= number < rank:
        raise shape_error(f"{name} {number} is out of range for rank {rank}")
    return number + rank if number < 0 else number


def normalize_axes(axes, rank: int) -> tuple[int, ...]:
    """`axes` (None for all, an int, or several) in increasing order; ShapeError where one is repeated."""
    if axes is None:
        return tuple(range(rank))
    many = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    found = sorted(normalize_axis(a, rank) for a in many)
    if len(set(found)) != len(found):
        raise shape_error(f"an axis is repeated in {axes!r}")
    return tuple(found)


def as_shape(shape) -> tuple[Dim, ...]:
    """A shape argument (an int, a dim, or a sequence of them) as a tuple of dims."""
    many = (shape,) if isinstance(shape, (DimExpr, numbers.Integral)) else shape
    if isinstance(many, Tracer) or any(isinstance(d, Tracer) for d in many):
        raise shape_error(f"the shape {shape!r} holds a traced array, and shapes must be known while tracing",
                          hint="take sizes from x.shape, or name the argument in static_argnames")
    try:
        return tuple(d if isinstance(d, DimExpr) else _index(d) for d in many)
    except TypeError:
        raise shape_error(f"{shape!r} is no shape", hint="a shape holds ints and dims") from None


def _index(d) -> int:
    import operator
    return operator.index(d)


def type_of(x: Array) -> TensorType:
    return TensorType(tuple(x.shape), dtype_of(x))


def in_trace(*xs) -> bool:
    """Whether an op on `xs` is recorded rather than computed; a TraceError where one outlived its trace."""
    tracers = [x for x in xs if isinstance(x, Tracer)]
    for tracer in tracers:
        if not tracer.owner.is_live:
            raise leaked(tracer)
    return bool(tracers)
