"""Which functions multiply matrices and vectors?  All of them are contractions over named axes."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr, format_dim, nominal
from ...compiler.core.dtypes import bool_, int32, int64
from ...compiler.ops.constant import Iota
from ...compiler.ops.contract import Contract
from .elementwise import abs as absolute
from .elementwise import divide, equal, greater_equal, maximum, multiply, not_equal, power, sqrt, subtract, where
from .manipulation import concat, expand_dims, moveaxis, ravel, reshape, slice_axis, swapaxes
from .operands import (Array, as_array, as_floating, as_operand, broadcast, cast, dtype_of, in_trace, normalize_axis,
                       result_dtype, shape_text)
from .reduction import max as largest
from .reduction import min as smallest
from .reduction import sum as total
from .tracer import emit, emit_traced, shape_error

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def contract(x: Array, x_letters: str, y: Array, y_letters: str, result: str) -> Array:
    """The Einstein sum of two arrays of one dtype; an axis of extent 1 meets any extent of the same letter."""
    extents = dict(zip(y_letters, y.shape))
    for letter, extent in zip(x_letters, x.shape):
        other = extents.get(letter, extent)
        if other != extent and 1 not in (other, extent):
            symbolic = isinstance(extent, DimExpr) or isinstance(other, DimExpr)
            raise shape_error(f"shapes {shape_text(x.shape)} and {shape_text(y.shape)} don't fit: "
                              f"{format_dim(extent)} meets "
                              f"{format_dim(other)}",
                              hint="give both axes the same symbolic dim" if symbolic else None)
    x, x_left = _without_units(x, x_letters, extents)
    y, y_left = _without_units(y, y_letters, dict(zip(x_letters, _extents_of(x, x_left, x_letters))))
    dtype = dtype_of(x)
    if dtype == bool_:
        x, y = cast(x, int32), cast(y, int32)
    out = emit(Contract(f"{x_left},{y_left}->{result}"), x, y)
    return not_equal(out, 0) if dtype == bool_ else out


def _extents_of(x: Array, left: str, letters: str) -> list[Dim]:
    known = dict(zip(left, x.shape))
    return [known.get(letter, 1) for letter in letters]


def _without_units(x: Array, letters: str, others: dict[str, Dim]) -> tuple[Array, str]:
    """x without its axes of extent 1 that meet a longer axis of the same letter."""
    kept = [i for i, letter in enumerate(letters) if not (x.shape[i] == 1 and others.get(letter, 1) != 1)]
    return reshape(x, tuple(x.shape[i] for i in kept)), "".join(letters[i] for i in kept)


def _pair(x, y) -> tuple[Array, Array]:
    dtype = result_dtype(x, y)
    return as_operand(x, dtype), as_operand(y, dtype)


# ---- products --------------------------------------------------------------------------------------------------------
def matmul(x, y, /) -> Array:
    """The matrix product over the last axis of x and the last but one of y; axes before them broadcast. Vectors count
    as a row on the left, a column on the right. 16-bit floats accumulate in float32."""
    x, y = _pair(x, y)
    if not x.shape or not y.shape:
        raise shape_error(f"matmul takes arrays of rank 1 or more, got {shape_text(x.shape)} and {shape_text(y.shape)}",
                          hint="multiply by a scalar with *")
    rows, columns = ("y" if len(x.shape) > 1 else ""), ("z" if len(y.shape) > 1 else "")
    batch_x, batch_y = max(0, len(x.shape) - 2), max(0, len(y.shape) - 2)
    batch = LETTERS[:max(batch_x, batch_y)]
    return contract(x, batch[len(batch) - batch_x:] + rows + "x", y, batch[len(batch) - batch_y:] + "x" + columns,
                    batch + rows + columns)


def vecdot(x, y, /, *, axis: int = -1) -> Array:
    """The dot products of the vectors along `axis`; the other axes broadcast."""
    x, y = _pair(x, y)
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    if x.shape[-1] != y.shape[-1]:
        raise shape_error(f"vecdot of vectors of {format_dim(x.shape[-1])} and {format_dim(y.shape[-1])} elements")
    batch = LETTERS[:max(len(x.shape), len(y.shape)) - 1]
    return contract(x, batch[len(batch) - len(x.shape) + 1:] + "z", y, batch[len(batch) - len(y.shape) + 1:] + "z",
                    batch)


def dot(x, y, /) -> Array:
    """NumPy's dot: over the last axis of x and the last but one of y (its last, if it is a vector), without
    broadcasting."""
    x, y = _pair(x, y)
    if not x.shape or not y.shape:
        return multiply(x, y)
    return tensordot(x, y, axes=((-1,), (-2 if len(y.shape) > 1 else -1,)))


def inner(x, y, /) -> Array:
    """The product over the last axes of both."""
    x, y = _pair(x, y)
    return multiply(x, y) if not x.shape or not y.shape else tensordot(x, y, axes=((-1,), (-1,)))


def outer(x, y, /) -> Array:
    """x[i] * y[j] of the flattened arrays."""
    x, y = _pair(x, y)
    return multiply(expand_dims(ravel(x), 1), expand_dims(ravel(y), 0))


def tensordot(x, y, /, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Array:
    """The sum over pairs of axes: the last `axes` of x with the first of y, or x's `axes[0]` with y's `axes[1]`."""
    x, y = _pair(x, y)
    if isinstance(axes, (int, np.integer)):
        count = int(axes)
        if not 0 <= count <= min(len(x.shape), len(y.shape)):
            raise shape_error(f"tensordot over {count} axes of shapes {shape_text(x.shape)} and {shape_text(y.shape)}")
        axes = tuple(range(len(x.shape) - count, len(x.shape))), tuple(range(count))
    first, second = ((a,) if isinstance(a, (int, np.integer)) else tuple(a) for a in axes)
    first = [normalize_axis(a, len(x.shape)) for a in first]
    second = [normalize_axis(a, len(y.shape)) for a in second]
    if len(first) != len(second) or any(x.shape[a] != y.shape[b] for a, b in zip(first, second)):
        raise shape_error(f"tensordot: axes {first} of shape {shape_text(x.shape)} don't fit axes {second} of "
                          f"{shape_text(y.shape)}")
    letters_x = LETTERS[:len(x.shape)]
    fresh = iter(LETTERS[len(x.shape):])
    letters_y = "".join(letters_x[first[second.index(b)]] if b in second else next(fresh) for b in range(len(y.shape)))
    summed = {letters_x[a] for a in first}
    return contract(x, letters_x, y, letters_y, "".join(c for c in letters_x + letters_y if c not in summed))


def kron(x, y, /) -> Array:
    """The Kronecker product: every element of x times the whole of y, as blocks."""
    x, y = _pair(x, y)
    rank = max(len(x.shape), len(y.shape))
    x, y = (reshape(a, (1,) * (rank - len(a.shape)) + tuple(a.shape)) for a in (x, y))
    spread_x = reshape(x, tuple(e for d in x.shape for e in (d, 1)))
    spread_y = reshape(y, tuple(e for d in y.shape for e in (1, d)))
    return reshape(multiply(spread_x, spread_y), tuple(a * b for a, b in zip(x.shape, y.shape)))


def cross(x, y, /, *, axis: int = -1) -> Array:
    """The cross product of the vectors of 3 along `axis`."""
    x, y = _pair(x, y)
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise shape_error(f"cross takes vectors of 3 elements, got shapes {shape_text(x.shape)} and "
                          f"{shape_text(y.shape)}")
    def turned(a, by):
        last = len(a.shape) - 1
        return concat([slice_axis(a, last, by, 3 - by), slice_axis(a, last, 0, by)], axis=-1)
    return moveaxis(subtract(multiply(turned(x, 1), turned(y, 2)), multiply(turned(x, 2), turned(y, 1))), -1, axis)


# ---- einsum ----------------------------------------------------------------------------------------------------------
def einsum(subscripts: str, /, *arrays) -> Array:
    """The Einstein sum "ij,jk->ik" of any number of arrays, two at a time (the pair with the smallest result first).

    Repeated letters in one operand take its diagonal, "..." stands for axes that broadcast; without -> the result has
    the letters that occur once, in alphabetical order.
    """
    dtype = result_dtype(*arrays)
    operands = [as_operand(a, dtype) for a in arrays]
    inputs, result = _parse(subscripts, operands)
    terms = [_single(x, letters, set(result).union(*(inputs[:i] + inputs[i + 1:])))
             for i, (x, letters) in enumerate(zip(operands, inputs))]
    while len(terms) > 1:
        i, j = _cheapest_pair(terms, result)
        (x, a), (y, b) = terms[i], terms[j]
        rest = [t for n, t in enumerate(terms) if n not in (i, j)]
        needed = set(result).union(*(letters for _, letters in rest))
        kept = "".join(c for c in (result if not rest else dict.fromkeys(a + b)) if c in needed and c in a + b)
        terms = rest + [(contract(x, a, y, b, kept), kept)]
    x, letters = terms[0]
    order = tuple(letters.index(c) for c in result)
    from .manipulation import permute_dims
    return permute_dims(x, order)


def _parse(subscripts: str, operands: Sequence[Array]) -> tuple[list[str], str]:
    """One string of single letters for each operand, and the result's, with the dots spelled out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands) or not all(c in LETTERS + ".," for c in left + right):
        raise shape_error(f"einsum can't read {subscripts!r} for {len(operands)} arrays", hint='write "ij,jk->ik"')
    free = [c for c in LETTERS if c not in text]
    spread = max((len(x.shape) - len(t) + 3 for t, x in zip(inputs, operands) if "..." in t), default=0)
    dots = "".join(free[:spread])
    for i, (letters, x) in enumerate(zip(inputs, operands)):
        count = len(x.shape) - len(letters) + 3
        if "..." in letters and count >= 0:
            inputs[i] = letters.replace("...", dots[spread - count:])
        if len(inputs[i]) != len(x.shape) or "." in inputs[i]:
            raise shape_error(f"einsum {subscripts!r}: {letters!r} does not fit an array of shape "
                              f"{shape_text(x.shape)}")
    if arrow:
        result = right.replace("...", dots)
    else:
        named = "".join(inputs)
        result = dots + "".join(sorted(c for c in set(named) if named.count(c) == 1 and c not in dots))
    if len(set(result)) != len(result) or not set(result) <= set("".join(inputs)):
        raise shape_error(f"einsum {subscripts!r}: the result's letters {result!r} repeat or occur in no operand")
    return inputs, result


def _single(x: Array, letters: str, needed: set[str]) -> tuple[Array, str]:
    """x with the diagonal of repeated letters taken, and summed over the letters that nothing else needs."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            x = moveaxis(diagonal(x, axis1=first, axis2=second), -1, first)
            letters = letters[:second] + letters[second + 1:]
    alone = tuple(i for i, c in enumerate(letters) if c not in needed)
    if alone:
        x = cast(total(x, axis=alone), dtype_of(x))
    return x, "".join(c for c in letters if c in needed)


def _cheapest_pair(terms: list[tuple[Array, str]], result: str) -> tuple[int, int]:
    def cost(i: int, j: int) -> int:
        extents: dict[str, int] = {}
        for x, letters in (terms[i], terms[j]):
            for c, d in zip(letters, x.shape):
                extents[c] = max(extents.get(c, 1), nominal(d))
        needed = set(result).union(*(letters for n, (_, letters) in enumerate(terms) if n not in (i, j)))
        size = 1
        for c, d in extents.items():
            size *= d if c in needed else 1
        return size
    return min(((i, j) for i in range(len(terms)) for j in range(i + 1, len(terms))), key=lambda pair: cost(*pair))


# ---- matrices --------------------------------------------------------------------------------------------------------
def matrix_transpose(x, /) -> Array:
    """x with its last two axes exchanged."""
    x = as_array(x)
    if len(x.shape) < 2:
        raise shape_error(f"matrix_transpose takes rank 2 or more, got shape {shape_text(x.shape)}")
    return swapaxes(x, -1, -2)


def ramp(shape: tuple[Dim, ...], axis: int, like: Array) -> Array:
    """int64 that count along `axis` of `shape`: a tracer where `like` is one or a dim is symbolic."""
    op = Iota(shape, axis, int64)
    return emit_traced(op) if in_trace(like) or any(isinstance(d, DimExpr) for d in shape) else emit(op)


def diagonal(x, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The elements x[.., i, .., i + offset, ..] of axes `axis1` and `axis2`, as the last axis."""
    x = as_array(x)
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    last = len(x.shape) - 1
    x = slice_axis(x, last, offset, columns - offset) if offset > 0 else x
    x = slice_axis(x, last - 1, -offset, rows + offset) if offset < 0 else x
    rows, columns = x.shape[-2:]
    if isinstance(rows, DimExpr) or isinstance(columns, DimExpr):
        if rows != columns:
            raise shape_error(f"the length of the diagonal of {format_dim(rows)} x {format_dim(columns)} is not known")
        from .searching import take_along_axis
        at = ramp((*x.shape[:-2], rows, 1), last - 1, x)
        return reshape(take_along_axis(x, at, axis=-1), x.shape[:-1])
    size = min(rows, columns)
    flat = reshape(slice_axis(x, last - 1, 0, size), (*x.shape[:-2], size * columns))
    return slice_axis(flat, last - 1, 0, size, columns + 1)


def trace(x, /, offset: int = 0, axis1: int = 0, axis2: int = 1, *, dtype=None) -> Array:
    """The sum of the diagonal of axes `axis1` and `axis2`."""
    return total(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype)


def diag(x, /, k: int = 0) -> Array:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal."""
    x = as_array(x)
    if len(x.shape) == 2:
        return diagonal(x, k)
    if len(x.shape) != 1:
        raise shape_error(f"diag takes rank 1 or 2, got shape {shape_text(x.shape)}")
    from .manipulation import pad
    size = x.shape[0] + abs(k)
    column = pad(x, (0, abs(k)) if k >= 0 else (abs(k), 0))
    shape = (size, size)
    on = equal(subtract(ramp(shape, 1, x), ramp(shape, 0, x)), k)
    return where(on, broadcast(expand_dims(column, 1), shape), as_operand(0, dtype_of(x)))


def tril(x, /, *, k: int = 0) -> Array:
    """x with zeros above its k-th diagonal."""
    return _triangle(x, k, lower=True)


def triu(x, /, *, k: int = 0) -> Array:
    """x with zeros below its k-th diagonal."""
    return _triangle(x, k, lower=False)


def _triangle(x, k: int, lower: bool) -> Array:
    x = as_array(x)
    if len(x.shape) < 2:
        raise shape_error(f"a triangle of shape {shape_text(x.shape)}: rank 2 or more was expected")
    shape = tuple(x.shape[-2:])
    gap = subtract(ramp(shape, 1, x), ramp(shape, 0, x))  # column - row
    inside = greater_equal(k, gap) if lower else greater_equal(gap, k)
    return where(inside, x, as_operand(0, dtype_of(x)))


# ---- norms -----------------------------------------------------------------------------------------------------------
def vector_norm(x, /, *, axis=None, keepdims: bool = False, ord: float = 2) -> Array:
    """The `ord`-norm of the vectors along `axis` (of all elements by default)."""
    x = as_floating(x)
    size = absolute(x)
    if ord == np.inf:
        return largest(size, axis=axis, keepdims=keepdims)
    if ord == -np.inf:
        return smallest(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return total(cast(not_equal(x, 0), dtype_of(x)), axis=axis, keepdims=keepdims)
    if ord == 1:
        return total(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return sqrt(total(multiply(x, x), axis=axis, keepdims=keepdims))
    return power(total(power(size, float(ord)), axis=axis, keepdims=keepdims), 1.0 / ord)


def norm(x, /, ord=None, axis=None, keepdims: bool = False) -> Array:
    """NumPy's norm: Frobenius, or the `ord`-norm of vectors along one axis; of matrices "fro", 1, inf and their
    negatives."""
    x = as_floating(x)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,
                                                                ) if axis is not None else tuple(range(len(x.shape)))
    if ord is None or ord == "fro" or len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=2 if ord in (None, "fro") else ord)
    if ord in (1, -1, np.inf, -np.inf) and len(axes) == 2:
        rows, columns = (normalize_axis(a, len(x.shape)) for a in axes)
        summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = total(absolute(x), axis=summed, keepdims=True)
        extreme = (largest if ord > 0 else smallest)(sums, axis=other, keepdims=True)
        return extreme if keepdims else reshape(extreme, tuple(d for i,
                                                               d in enumerate(x.shape) if i not in (rows, columns)))
    raise shape_error(f"lm.norm has no order {ord!r} for {len(axes)} axes",
                      hint="singular values (orders 2, -2 and nuc of matrices) are not computed: use NumPy")


def normalize(x, /, *, axis: int = -1, ord: float = 2, epsilon: float = 1e-12) -> Array:
    """x divided by its `ord`-norm along `axis`, or by `epsilon` where the norm is smaller."""
    x = as_floating(x)
    return divide(x, maximum(vector_norm(x, axis=axis, keepdims=True, ord=ord), epsilon))
