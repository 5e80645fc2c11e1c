"""What is a shape while a model is imported?  An array of extents, some of them not yet numbers.

`Shape` of a tensor with symbolic dims yields a `SymbolicArray`; the operators that models compute shapes with (Gather,
Concat, Mul, ...) have a second meaning here, on extents. What ends in a Reshape never becomes a tensor.
"""

from __future__ import annotations

from functools import reduce
from typing import Callable

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, bounds, divide_exactly
from ...compiler.core.dtypes import as_dtype
from ...compiler.core.errors import ShapeError
from .. import array as lm
from ..array.operands import as_array, extent
from .model import dtype_of_code

RULES: dict[str, Callable] = {}


class SymbolicArray:
    """An integer array whose `entries` (an object array) are ints or dim expressions, one of them at least a dim."""

    def __init__(self, entries: np.ndarray, dtype: np.dtype = np.dtype(np.int64)):
        self.entries = entries
        self.dtype = np.dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entries.shape

    def __repr__(self) -> str:
        return f"<extents {self.entries.tolist()}>"


def extents(values, dtype=np.int64) -> "SymbolicArray | np.ndarray":
    """`values` (dims, nested or an object array) as a NumPy array where all are numbers, else as a SymbolicArray."""
    entries = np.empty(np.shape(values), dtype=object) if not isinstance(values, np.ndarray) else values
    if entries is not values:
        entries[...] = values
    if entries.dtype != object:
        return entries.astype(dtype)
    if any(isinstance(e, DimExpr) for e in entries.flat):
        return SymbolicArray(entries, dtype)
    return entries.astype(dtype)


def compute(name: str, inputs: list, attributes: dict, outputs: int):
    """The outputs of the operator `name` on extents, or None where it has no meaning on them, or the facts do not
    decide it: then the extents become tensors."""
    dtype = next(i.dtype for i in inputs if isinstance(i, SymbolicArray))
    if name == "Cast":
        return (SymbolicArray(inputs[0].entries, dtype_of_code(attributes["to"]).numpy),)
    meaning = RULES.get("Div exactly" if name == "Div" and dtype.kind == "f" else name)
    if meaning is None:
        return None
    try:
        results = meaning(*(i.entries if isinstance(i, SymbolicArray) else i for i in inputs), **attributes)
    except ShapeError:
        return None
    results = results if isinstance(results, tuple) else (results,)
    return tuple(extents(np.asarray(r), dtype) if np.asarray(r).dtype == object else np.asarray(r)
                 for r in results[:outputs])


def rule(*names: str):
    """Registers the decorated function as the meaning of the operators `names` on extents."""
    def register(function):
        RULES.update(dict.fromkeys(names, function))
        return function
    return register


def _elementwise(name: str, function: Callable) -> None:
    RULES[name] = lambda a, b, **_: np.frompyfunc(function, 2, 1)(_objects(a), _objects(b))


def _objects(array) -> np.ndarray:
    """`array` with Python ints for its numbers: NumPy's own do not know dim expressions."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        if not np.all(array == np.trunc(array)):
            raise ShapeError("an extent meets a number that is not whole")
        array = array.astype(np.int64)
    return array.astype(object)


def is_less(a: Dim, b: Dim) -> bool:
    """a < b where the facts decide it; ShapeError where they do not."""
    low, high = bounds(b - a)
    if low > 0:
        return True
    if high <= 0:
        return False
    raise ShapeError(f"whether {a} < {b} depends on the extents")


def is_equal(a: Dim, b: Dim) -> bool:
    """a == b where the facts decide it; ShapeError where they do not."""
    if a == b:
        return True
    low, high = bounds(a - b)
    if low > 0 or high < 0:
        return False
    raise ShapeError(f"whether {a} == {b} depends on the extents")


def _divide_exactly(a: Dim, b: Dim) -> Dim:
    exact = divide_exactly(a, b)
    if exact is None:
        raise ShapeError(f"({a}) / ({b}) may leave a remainder")
    return exact


def _divide(a: Dim, b: Dim) -> Dim:
    """a / b of integers, toward zero."""
    exact = divide_exactly(a, b)
    if exact is None and bounds(a)[0] < 0:
        raise ShapeError(f"({a}) / ({b}) rounds toward zero and may be negative")
    return a // b if exact is None else exact


for _name, _function in {"Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
                         "Div": _divide, "Div exactly": _divide_exactly,
                         "Mod": lambda a, b: a % b, "Equal": is_equal, "Less": is_less,
                         "Greater": lambda a, b: is_less(b, a), "LessOrEqual": lambda a, b: not is_less(b, a),
                         "GreaterOrEqual": lambda a, b: not is_less(a, b)}.items():
    _elementwise(_name, _function)


@rule("Min")
def _min(*arrays):
    return reduce(np.frompyfunc(lambda a, b: a if not is_less(b, a) else b, 2, 1), map(_objects, arrays))


@rule("Max")
def _max(*arrays):
    return reduce(np.frompyfunc(lambda a, b: b if is_less(a, b) else a, 2, 1), map(_objects, arrays))


@rule("Identity", "Floor", "Ceil", "Round")
def _identity(a, **_):
    return a


@rule("Neg")
def _neg(a):
    return np.frompyfunc(lambda d: d * -1, 1, 1)(_objects(a))


@rule("Gather")
def _gather(a, indices, axis=0):
    return np.asarray(np.take(a, np.asarray(indices).astype(np.int64), axis=axis), dtype=object)


@rule("Slice")
def _slice(a, starts, ends, axes=None, steps=None):
    starts = np.asarray(starts).tolist()
    axes = range(len(starts)) if axes is None else np.asarray(axes).tolist()
    steps = [1] * len(starts) if steps is None else np.asarray(steps).tolist()
    where = [slice(None)] * a.ndim
    for start, end, axis, step in zip(starts, np.asarray(ends).tolist(), axes, steps):
        where[axis] = slice(start, None if step < 0 and end < -a.shape[axis] else end, step)
    return a[tuple(where)]


@rule("Concat")
def _concat(*arrays, axis):
    return np.concatenate([_objects(a) for a in arrays], axis=axis)


@rule("Unsqueeze")
def _unsqueeze(a, axes):
    return np.expand_dims(a, tuple(np.asarray(axes).tolist()))


@rule("Squeeze")
def _squeeze(a, axes=None):
    return np.squeeze(a, None if axes is None else tuple(np.asarray(axes).tolist()))


@rule("Reshape")
def _reshape(a, shape, **_):
    return np.reshape(a, np.asarray(shape).astype(np.int64))


@rule("Expand")
def _expand(a, shape):
    return np.broadcast_to(a, np.broadcast_shapes(a.shape, tuple(np.asarray(shape).tolist())))


@rule("Where")
def _where(condition, a, b):
    return np.where(np.asarray(condition, dtype=bool), _objects(a), _objects(b))


@rule("ReduceProd")
def _reduce_prod(a, axes=None, keepdims=1, **_):
    return _reduce(lambda x, y: x * y, 1, a, axes, keepdims)


@rule("ReduceSum")
def _reduce_sum(a, axes=None, keepdims=1, **_):
    return _reduce(lambda x, y: x + y, 0, a, axes, keepdims)


def _reduce(function, initial, a, axes, keepdims):
    axes = tuple(range(a.ndim)) if axes is None else tuple(np.asarray(axes).tolist())
    total = np.frompyfunc(function, 2, 1).reduce(a, axis=axes or None, keepdims=bool(keepdims), initial=initial)
    return np.asarray(total, object)


@rule("Split")
def _split(a, split=None, axis=0, num_outputs=None, **_):
    sizes = np.asarray(split).tolist() if split is not None else [a.shape[axis] // num_outputs] * (num_outputs or 0)
    if sum(sizes) != a.shape[axis]:
        raise ShapeError(f"split into {sizes}")
    return tuple(np.split(a, np.cumsum(sizes)[:-1], axis=axis))


@rule("Shape")
def _shape(a, start=0, end=None):
    return np.array(a.shape[slice(start, end)], np.int64)


def materialize(value: SymbolicArray):
    """`value` as a tensor of the graph, whose elements are read off the extents at run time."""
    flat = [as_array(extent(e)) for e in value.entries.flat]
    tensor = lm.stack(flat) if value.shape else flat[0]
    return lm.astype(lm.reshape(tensor, value.shape), as_dtype(value.dtype))
