"""Operators on shapes and the arrangement of elements: reshape, transpose, slice, pad, concat, tile and their kin."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dims import Dim, DimExpr, divide_exactly, is_positive, product
from ....compiler.core.dtypes import int64
from ....compiler.ops.op import is_nonnegative
from ....compiler.ops import Broadcast, Concat, Pad, Reshape, Slice, Transpose
from ... import array as lm
from ...array.operands import broadcast_shapes, cast
from ...array.tracer import emit, emit_traced
from ..symbolic import SymbolicArray, extents
from ..table import Refusal, operator
from .values import axes_of, axis_of, choice, known, known_dims, known_ints


# ---- shapes as values ------------------------------------------------------------------------------------------------
@operator("Shape", 15)
def shape(x, *, start=0, end=None):
    return extents(tuple(x.shape)[slice(start, end)])


@operator("Shape", 1)
def shape_1(x):
    return extents(tuple(x.shape))


@operator("Size")
def size(x):
    return extents(product(x.shape))


@operator("Constant", ignored=("sparse_value", "value_string", "value_strings"))
def constant(*, value=None, value_float=None, value_floats=None, value_int=None, value_ints=None, context):
    if value is not None:
        return context.importer.constant(value, context.name)
    for given, dtype in ((value_float, np.float32), (value_floats, np.float32), (value_int, np.int64),
                         (value_ints, np.int64)):
        if given is not None:
            return np.asarray(given, dtype)
    raise Refusal("the constant is sparse, or holds strings")


@operator("ConstantOfShape", 9, dims=("shape",))
def constant_of_shape(shape, *, value=None):
    scalar = np.zeros((), np.float32) if value is None else value.reshape(())
    return broadcast_to(scalar, known_dims(shape, "the shape"))


@operator("Range", 11, dims=("start", "limit", "delta"), ignored=("stash_type",))
def arange(start, limit, delta):
    (first,), (last,), (step,) = (known_dims(v, "the range") if isinstance(v, SymbolicArray)
                                  else tuple(known(v, "the range").reshape(-1))
                                  for v in (start, limit, delta))
    if not any(isinstance(v, DimExpr) for v in (first, last, step)):
        dtype = next(v.dtype for v in (start, limit, delta) if isinstance(v, np.ndarray))
        count = max(int(np.ceil((last - first) / step)), 0)
        return (np.arange(count, dtype=dtype) * step + first).astype(dtype)
    if isinstance(step, DimExpr) or step < 1:
        raise Refusal(f"a range from {first} to {last} by {step}")
    count = last - first if step == 1 else (last - first + (int(step) - 1)) // int(step)
    if not is_nonnegative(count):
        raise Refusal(f"a range from {first} to {last}: declare facts of the dims under which it is not negative")
    return lm.arange(count) * np.asarray(int(step), np.int64) + lm.asarray(first)


# ---- the same elements under another shape ---------------------------------------------------------------------------
def reshape_to(x, dims: tuple[Dim, ...]):
    """`x` under the shape `dims`."""
    return x if tuple(x.shape) == tuple(dims) else emit(Reshape(tuple(dims)), x)


def resolved_shape(x, dims: tuple[Dim, ...], allow_zero: bool) -> tuple[Dim, ...]:
    """`dims` with 0 taken from `x` (unless zeros are allowed) and -1 inferred."""
    dims = tuple(x.shape[i] if d == 0 and not allow_zero and i < len(x.shape) else d for i, d in enumerate(dims))
    if -1 in [d for d in dims if isinstance(d, int)]:
        rest = product(d for d in dims if d != -1)
        inferred = divide_exactly(product(x.shape), rest)
        if inferred is None:
            raise Refusal(f"the shape {list(map(str, dims))} for {product(x.shape)} elements")
        dims = tuple(inferred if d == -1 else d for d in dims)
    return dims


@operator("Reshape", 5, dims=("shape",))
def reshape(x, shape, *, allowzero=0):
    return reshape_to(x, resolved_shape(x, known_dims(shape, "the shape"), bool(allowzero)))


@operator("Reshape", 1, ignored=("consumed_inputs",))
def reshape_1(x, *, shape):
    return reshape_to(x, resolved_shape(x, tuple(shape), False))


@operator("Flatten")
def flatten(x, *, axis=1):
    axis = axis if axis == len(x.shape) else axis_of(axis, x)
    return reshape_to(x, (product(x.shape[:axis]), product(x.shape[axis:])))


@operator("Squeeze", 13)
def squeeze(x, axes=None):
    return squeeze_1(x, axes=None if axes is None else known_ints(axes, "axes"))


@operator("Squeeze", 1)
def squeeze_1(x, *, axes=None):
    dropped = tuple(i for i, d in enumerate(x.shape) if d == 1) if axes is None else axes_of(axes, x)
    if any(x.shape[a] != 1 for a in dropped):
        raise ValueError(f"axes {dropped} are squeezed")
    return reshape_to(x, tuple(d for i, d in enumerate(x.shape) if i not in dropped))


@operator("Unsqueeze", 13)
def unsqueeze(x, axes):
    return unsqueeze_1(x, axes=known_ints(axes, "axes"))


@operator("Unsqueeze", 1)
def unsqueeze_1(x, *, axes):
    rank = len(x.shape) + len(axes)
    new = {a % rank for a in axes}
    if len(new) != len(axes) or any(not -rank <= a < rank for a in axes):
        raise ValueError(f"axes {axes} for rank {rank}")
    old = iter(x.shape)
    return reshape_to(x, tuple(1 if i in new else next(old) for i in range(rank)))


@operator("Transpose")
def transpose(x, *, perm=None):
    return transposed(x, tuple(perm) if perm is not None else tuple(reversed(range(len(x.shape)))))


def transposed(x, permutation: tuple[int, ...]):
    """`x` with its axes in this order."""
    return x if permutation == tuple(range(len(x.shape))) else emit(Transpose(permutation), x)


@operator("DepthToSpace", 1)
def depth_to_space(x, *, blocksize, mode="DCR"):
    """Source: ONNX DepthToSpace. DCR: depth, column, row is the order of the split channels; CRD the other way."""
    n, c, *space = x.shape
    depth, b = c // blocksize ** len(space), len(space)
    blocks = [blocksize] * b
    if choice(mode, ("DCR", "CRD"), "mode") == "DCR":
        split, offset, channel = (n, *blocks, depth, *space), 1, b + 1
    else:
        split, offset, channel = (n, depth, *blocks, *space), 2, 1
    order = [0, channel]
    for axis in range(b):
        order += [b + 2 + axis, offset + axis]
    return reshape_to(transposed(reshape_to(x, split), tuple(order)), (n, depth, *(d * blocksize for d in space)))


@operator("SpaceToDepth", 1)
def space_to_depth(x, *, blocksize, mode="DCR"):
    n, c, *space = x.shape
    b = len(space)
    split = [n, c]
    for d in space:
        split += [divide_exactly(d, blocksize) or _indivisible(d, blocksize), blocksize]
    inner, outer = tuple(3 + 2 * i for i in range(b)), tuple(2 + 2 * i for i in range(b))
    order = (0, *inner, 1, *outer) if choice(mode, ("DCR", "CRD"), "mode") == "DCR" else (0, 1, *inner, *outer)
    return reshape_to(transposed(reshape_to(x, tuple(split)), order), (n, c * blocksize ** b, *split[2::2]))


def _indivisible(extent, by):
    raise Refusal(f"the extent {extent} is not known to be a multiple of {by}")


# ---- repetition ------------------------------------------------------------------------------------------------------
def broadcast_to(x, dims: tuple[Dim, ...]):
    """`x` repeated to `dims`, aligned to the right."""
    if tuple(x.shape) == tuple(dims):
        return x
    op = Broadcast(tuple(dims), tuple(range(len(dims) - len(x.shape), len(dims))))
    return emit_traced(op, x) if any(isinstance(d, DimExpr) for d in dims) else emit(op, x)


@operator("Expand", 8, dims=("shape",))
def expand(x, shape):
    return broadcast_to(x, broadcast_shapes(x.shape, known_dims(shape, "the shape")))


@operator("Tile", 6, dims=("repeats",))
def tile(x, repeats):
    repeats = known_dims(repeats, "repeats")
    split, whole, axes = [], [], []
    for d, r in zip(x.shape, repeats):
        axes.append(len(split) + 1)
        split += [r, d]
        whole.append(r * d)
    if all(r == 1 for r in repeats):
        return x
    op = Broadcast(tuple(split), tuple(axes))
    repeated = emit_traced(op, x) if any(isinstance(d, DimExpr) for d in split) else emit(op, x)
    return reshape_to(repeated, tuple(whole))


@operator("Tile", 1)
def tile_1(x, tiles, axis):
    (axis,), (count,) = known_ints(axis, "axis"), known_ints(tiles, "tiles")
    return tile(x, np.array([count if i == axis else 1 for i in range(len(x.shape))]))


@operator("Concat", 4)
def concat(*xs, axis):
    return emit(Concat(axis_of(axis, xs[0])), *xs)


@operator("Concat", 1)
def concat_1(*xs, axis=1):
    return concat(*xs, axis=axis)


# ---- parts -----------------------------------------------------------------------------------------------------------
def piece(x, axis: int, start: Dim, size: Dim, step: int = 1):
    """`size` elements of `x` from `start` on along `axis`."""
    if start == 0 and size == x.shape[axis] and step == 1:
        return x
    rank = len(x.shape)
    return emit(Slice(tuple(start if i == axis else 0 for i in range(rank)),
                      tuple(size if i == axis else d for i, d in enumerate(x.shape)),
                      tuple(step if i == axis else 1 for i in range(rank))), x)


@operator("Split", 18, dims=("sizes",))
def split(x, sizes=None, *, axis=0, num_outputs=None, context):
    axis = axis_of(axis, x)
    count = num_outputs or context.outputs
    if sizes is not None:
        parts = known_dims(sizes, "split")
    else:
        each = divide_exactly(x.shape[axis], count)
        each = -(-x.shape[axis] // count) if each is None and isinstance(x.shape[axis], int) else each
        if each is None:
            raise Refusal(f"{x.shape[axis]} split into {count}")
        parts = (each,) * (count - 1) + (x.shape[axis] - each * (count - 1),)
    if sum(parts) != x.shape[axis]:
        raise ValueError(f"split into {parts}")
    starts = [sum(parts[:i]) for i in range(len(parts))]
    return tuple(piece(x, axis, start, part) for start, part in zip(starts, parts))


@operator("Split", 13, dims=("sizes",))
def split_13(x, sizes=None, *, axis=0, context):
    return split(x, sizes, axis=axis, context=context)


@operator("Split", 2)
def split_2(x, *, axis=0, split=None, context):
    return _split(x, None if split is None else np.array(split), axis=axis, context=context)


@operator("Split", 1)
def split_1(x, sizes=None, *, axis=0, split=None, context):
    return _split(x, sizes if split is None else np.array(split), axis=axis, context=context)


_split = split


@operator("Slice", 10, dims=("starts", "ends"))
def slice_10(x, starts, ends, axes=None, steps=None):
    starts, ends = known_dims(starts, "starts"), known_dims(ends, "ends")
    axes = known_ints(axes, "axes") if axes is not None else range(len(starts))
    steps = known_ints(steps, "steps") if steps is not None else (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        axis = axis_of(axis, x)
        x = piece(x, axis, *slice_bounds(x.shape[axis], start, end, step), step)
    return x


@operator("Slice", 1)
def slice_1(x, *, starts, ends, axes=None):
    return slice_10(x, np.array(starts), np.array(ends), None if axes is None else np.array(axes))


def slice_bounds(extent: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim]:
    """The first index and the number of elements of the ONNX slice start:end:step of an axis."""
    if step == 0:
        raise ValueError("the step of a slice is 0")
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    start, end = _clamped(start, extent, 0, high), _clamped(end, extent, low, high)
    length = end - start if step > 0 else start - end
    if isinstance(length, DimExpr) and not is_nonnegative(length):
        raise Refusal(f"the slice {start}:{end} of {extent}: declare facts of the dims under which it is not negative")
    if isinstance(length, int):
        length = max(length, 0)
    step = abs(step)
    return start, length if step == 1 else (length + (step - 1)) // step


def _clamped(index: Dim, extent: Dim, low: Dim, high: Dim) -> Dim:
    """`index` counted from the front (negative ones count from the end) and moved between `low` and `high`."""
    if isinstance(index, int) and isinstance(extent, int):
        return min(max(index + extent if index < 0 else index, low), high)
    if isinstance(index, int) and (index >= 1 << 30 or index <= -(1 << 30)):  # exporters write "to the end" so
        return high if index > 0 else low
    if isinstance(index, int) and index < 0 or not isinstance(index, int) and not is_nonnegative(index):
        index = index + extent
    if is_nonnegative(high - index):
        if is_nonnegative(index - low):
            return index
        if is_nonnegative(low - index):
            return low
    elif is_nonnegative(index - high):
        return high
    raise Refusal(f"whether the index {index} lies inside the extent {extent} depends on the dims; declare facts of "
                  "them in dims=")


# ---- padding ---------------------------------------------------------------------------------------------------------
@operator("Pad", 18, dims=("pads",))
def pad(x, pads, value=None, axes=None, *, mode="constant"):
    rank = len(x.shape)
    axes = [axis_of(a, x) for a in known_ints(axes, "axes")] if axes is not None else list(range(rank))
    given = known_dims(pads, "pads")
    low, high = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        low[axis], high[axis] = given[i], given[i + len(axes)]
    choice(mode, ("constant", "reflect", "edge", "wrap"), "mode")
    if mode == "constant":
        fill = known(value, "the padding value").reshape(()).item() if value is not None else 0
        return padded(x, low, high, fill)
    for axis in axes:
        x = _padded_by_index(x, axis, low[axis], high[axis], mode)
    return x


def padded(x, low, high, fill):
    """`x` with `low` and `high` elements of `fill` around it on each axis; negative counts cut elements off."""
    for axis, (before, after) in enumerate(zip(low, high)):
        if isinstance(before, int) and before < 0 or isinstance(after, int) and after < 0:
            start = max(-before, 0)
            x = piece(x, axis, start, x.shape[axis] - start - max(-after, 0))
    low = tuple(max(d, 0) if isinstance(d, int) else d for d in low)
    high = tuple(max(d, 0) if isinstance(d, int) else d for d in high)
    return emit(Pad(low, high, fill), x) if any(d != 0 for d in low + high) else x


def _padded_by_index(x, axis: int, before: Dim, after: Dim, mode: str):
    """Padding with elements of `x` itself: their positions along `axis` are known while importing."""
    extent = x.shape[axis]
    if not all(isinstance(d, int) for d in (extent, before, after)):
        raise Refusal(f"padding in the mode {mode!r} with symbolic extents")
    if before == after == 0:
        return x
    at = np.arange(-before, extent + after)
    if mode == "edge":
        at = np.clip(at, 0, extent - 1)
    elif mode == "wrap":
        at = at % extent
    else:
        period = max(2 * (extent - 1), 1)
        at = extent - 1 - np.abs(extent - 1 - at % period) if extent > 1 else at * 0
    return lm.take(x, at.astype(np.int64), axis=axis)


@operator("Pad", 11, dims=("pads",))
def pad_11(x, pads, value=None, *, mode="constant"):
    return pad(x, pads, value, mode=mode)


@operator("Pad", 2)
def pad_2(x, *, pads, mode="constant", value=0.0):
    return pad(x, np.array(pads), np.asarray(value), mode=mode)


@operator("Pad", 1)
def pad_1(x, *, paddings, mode="constant", value=0.0):
    return pad(x, np.array(paddings), np.asarray(value), mode=mode)


@operator("CenterCropPad", 18, dims=("shape",))
def center_crop_pad(x, shape, *, axes=None):
    axes = [axis_of(a, x) for a in axes] if axes is not None else list(range(len(x.shape)))
    low, high = [0] * len(x.shape), [0] * len(x.shape)
    for axis, wanted in zip(axes, known_dims(shape, "the shape")):
        extent = x.shape[axis]
        if is_nonnegative(extent - wanted):
            x = piece(x, axis, (extent - wanted) // 2, wanted)
        elif is_positive(wanted - extent):
            low[axis] = (wanted - extent) // 2
            high[axis] = wanted - extent - low[axis]
        else:
            raise Refusal(f"whether {extent} is cropped or padded to {wanted} depends on the dims")
    return padded(x, low, high, 0)


@operator("ReverseSequence", 10)
def reverse_sequence(x, lengths, *, batch_axis=1, time_axis=0):
    """The first lengths[b] elements of each sequence in reverse order."""
    ramp = lm.arange(x.shape[time_axis])
    at = lm.expand_dims(lengths, 1) - 1 - lm.expand_dims(ramp, 0)
    at = lm.where(at < 0, lm.expand_dims(ramp, 0), at)
    at = at if batch_axis < time_axis else transposed(at, (1, 0))
    rank = len(x.shape)
    at = reshape_to(at, tuple(at.shape) + (1,) * (rank - 2))
    return lm.take_along_axis(x, broadcast_to(at, tuple(x.shape)), axis=time_axis)


@operator("OneHot", 9)
def one_hot(indices, depth, values, *, axis=-1):
    """values[1] at the index, values[0] elsewhere; indices from -depth count from the end, others give no one."""
    (count,) = (int(v) for v in known(depth, "depth").reshape(-1))
    rank = len(indices.shape) + 1
    axis = axis % rank
    indices = cast(indices, int64)
    indices = lm.where(indices < 0, indices + count, indices)
    ramp = np.arange(count).reshape([-1 if i == axis else 1 for i in range(rank)])
    return lm.where(lm.expand_dims(indices, axis) == ramp, values[1], values[0])


