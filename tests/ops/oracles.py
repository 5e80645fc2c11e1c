"""What do others say that an op computes?  Public functions of torch and NumPy, or the definition written out as loops.

Nothing here uses lamina's references.
"""

import math

import numpy as np
import pytest

from lamina.compiler import ops
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.ops.winograd import POINTS

WORD = 0xFFFFFFFF


def oracle(op, *arrays) -> tuple[np.ndarray, ...]:
    """The results that another implementation gives, in any dtypes that hold them."""
    result = ORACLES[type(op)](op, *arrays)
    return result if isinstance(result, tuple) else (result,)


# ---- elementwise, by torch ------------------------------------------------------------------------------------------
UNARY = {ops.Neg: "neg", ops.Abs: "abs", ops.Floor: "floor", ops.Ceil: "ceil", ops.Trunc: "trunc", ops.Round: "round",
         ops.Sqrt: "sqrt", ops.Rsqrt: "rsqrt", ops.Exp: "exp", ops.Exp2: "exp2", ops.Expm1: "expm1", ops.Log: "log",
         ops.Log2: "log2",
         ops.Log1p: "log1p", ops.Sin: "sin", ops.Cos: "cos", ops.Tan: "tan", ops.Asin: "asin", ops.Acos: "acos",
         ops.Atan: "atan",
         ops.Sinh: "sinh", ops.Cosh: "cosh", ops.Asinh: "asinh", ops.Acosh: "acosh", ops.Atanh: "atanh",
         ops.Tanh: "tanh",
         ops.Sigmoid: "sigmoid", ops.Erf: "erf", ops.Erfc: "erfc", ops.IsNan: "isnan", ops.Not: "bitwise_not"}
BINARY = {ops.Add: "add", ops.Sub: "sub", ops.Mul: "mul", ops.Atan2: "atan2", ops.Max: "maximum", ops.Min: "minimum",
          ops.And: "bitwise_and", ops.Or: "bitwise_or", ops.Xor: "bitwise_xor"}


def _tensor(array):
    """A torch tensor of the array's values: 16-bit floats as float32, wide unsigned integers as int64."""
    torch = pytest.importorskip("torch")
    dtype = as_dtype(array.dtype)
    if dtype.kind == "uint" and dtype.bits > 8:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, dtype.compute.numpy if dtype.is_float else array.dtype, order="C"))


def _torch(name):
    def find(op, *arrays):
        torch = pytest.importorskip("torch")
        return getattr(torch, name)(*map(_tensor, arrays)).numpy()
    return find


def _divide(op, x, y):
    """Div, FloorDiv, Mod, Rem and Pow: by torch for floats, by their definition for integers."""
    if x.dtype.kind in "iu":
        return _wrapped([_integer_division(op, a, b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist())],
                        x.dtype).reshape(x.shape)
    torch = pytest.importorskip("torch")
    x, y = _tensor(x), _tensor(y)
    if isinstance(op, ops.Mod | ops.Rem):  # torch's f32 remainder is NaN where the quotient overflows
        return (torch.remainder if isinstance(op, ops.Mod) else torch.fmod)(x.double(), y.double()).numpy()
    if isinstance(op, ops.Pow):
        return torch.pow(x, y).numpy()
    quotient = torch.div(x, y)
    return (quotient.floor() if isinstance(op, ops.FloorDiv) else quotient).numpy()


def _integer_division(op, a: int, b: int) -> int:
    if isinstance(op, ops.Pow):
        return a ** b if b >= 0 else {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
    if b == 0:
        return 0
    toward_zero = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return {ops.Div: toward_zero, ops.Rem: a - b * toward_zero, ops.FloorDiv: a // b, ops.Mod: a % b}[type(op)]


def _shift(op, x, y):
    factor = 2 ** y.astype(object)
    return _wrapped(x.astype(object) * factor if isinstance(op, ops.Shl) else x.astype(object) // factor, x.dtype)


def _wrapped(exact, dtype):
    """Python integers as values of `dtype`, modulo 2^bits."""
    bits = dtype.itemsize * 8
    unsigned = np.array([int(v) % (1 << bits) for v in np.asarray(exact, object).ravel()],
                        np.uint64).reshape(np.shape(exact))
    return unsigned.astype(f"uint{bits}").view(dtype)


def _cast(op, x):
    if op.dtype.is_float:
        torch = pytest.importorskip("torch")
        rounded = _tensor(x).to(getattr(torch, op.dtype.name))
        return (rounded if op.dtype.bits == 64 else rounded.float()).numpy()
    values = [float(v) if x.dtype.kind not in "biu" else int(v) for v in x.ravel()]
    if op.dtype.is_bool:
        return np.array([v != 0 for v in values], bool).reshape(x.shape)
    if x.dtype.kind in "biu":
        return _wrapped(values, op.dtype.numpy).reshape(x.shape)
    low, high = op.dtype.minimum, op.dtype.maximum
    whole = [0 if math.isnan(v) else (high if v > 0 else low) if math.isinf(v) else min(max(int(v), low), high)
             for v in values]
    return np.array(whole, op.dtype.numpy).reshape(x.shape)


def _select(op, condition, x, y):
    flat = [a if c else b for c, a, b in zip(condition.ravel(), x.ravel(), y.ravel())]
    return np.array(flat, x.dtype).reshape(x.shape)


def _is_inf(op, x):
    flat = [math.isinf(v) and (op.positive if v > 0 else op.negative) for v in x.astype(np.float64).ravel()]
    return np.array(flat, bool).reshape(x.shape)


def _sign(op, x):
    flat = [v if v != v else (v > 0) - (v < 0) for v in x.ravel().tolist()]
    return np.array(flat).astype(x.dtype).reshape(x.shape)


def _compare(op, x, y):
    torch = pytest.importorskip("torch")
    return getattr(torch, op.relation)(_tensor(x), _tensor(y)).numpy()


# ---- elements that move: loops over the result's index --------------------------------------------------------------
def _by_index(shape, dtype, element):
    out = np.empty(shape, dtype)
    for index in np.ndindex(*shape):
        out[index] = element(index)
    return out


def _iota(op):
    return _by_index(op.shape, op.dtype.numpy, lambda i: i[op.axis])


def _reshape(op, x):
    return np.array([x[i] for i in np.ndindex(*x.shape)], x.dtype).reshape(op.shape)


def _transpose(op, x):
    def element(index):
        source = [0] * x.ndim
        for axis, p in enumerate(op.permutation):
            source[p] = index[axis]
        return x[tuple(source)]
    return _by_index([x.shape[p] for p in op.permutation], x.dtype, element)


def _broadcast(op, x):
    return _by_index(op.shape, x.dtype,
                     lambda i: x[tuple(0 if x.shape[n] == 1 else i[a] for n, a in enumerate(op.axes))])


def _slice(op, x):
    return _by_index(op.sizes, x.dtype, lambda i: x[tuple(a + n * s for a, n, s in zip(op.starts, i, op.steps))])


def _pad(op, x):
    return np.pad(x, list(zip(op.low, op.high)), constant_values=op.value) if x.ndim else x


def _concat(op, *arrays):
    torch = pytest.importorskip("torch")
    return torch.cat([_tensor(a) for a in arrays], op.axis).numpy()


def _take(op, x, indices):
    end = op.axis + indices.ndim

    def element(i):
        return x[(*i[:op.axis], min(max(indices[i[op.axis:end]], 0), x.shape[op.axis] - 1), *i[end:])]
    return _by_index((*x.shape[:op.axis], *indices.shape, *x.shape[op.axis + 1:]), x.dtype, element)


def _take_along(op, x, indices):
    return _by_index(indices.shape, x.dtype,
                     lambda i: x[(*i[:op.axis], min(max(indices[i], 0), x.shape[op.axis] - 1), *i[op.axis + 1:])])


def _gather_nd(op, x, indices):
    outer, b, count = indices.ndim - 1, op.batch_dims, indices.shape[-1]

    def element(i):
        at = [min(max(c, 0), x.shape[b + n] - 1) for n, c in enumerate(indices[i[:outer]])]
        return x[(*i[:b], *at, *i[outer:])]
    return _by_index((*indices.shape[:-1], *x.shape[b + count:]), x.dtype, element)


def _starts(x, sizes, starts):
    return [max(0, min(int(s), n - size)) for s, n, size in zip(starts, x.shape, sizes)]


def _dynamic_slice(op, x, *starts):
    at = _starts(x, op.sizes, starts)
    return _by_index(op.sizes, x.dtype, lambda i: x[tuple(a + n for a, n in zip(at, i))])


def _dynamic_update_slice(op, x, update, *starts):
    out, at = x.copy(), _starts(x, update.shape, starts)
    for i in np.ndindex(*update.shape):
        out[tuple(a + n for a, n in zip(at, i))] = update[i]
    return out


COMBINE = {"set": lambda a, b: b, "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "max": np.maximum,
           "min": np.minimum}


def _scatter_nd(op, x, indices, updates):
    wide = x.astype(np.float64) if x.dtype.kind not in "biu" else x.copy()
    for i in np.ndindex(*indices.shape[:-1]):
        at = tuple(indices[i])
        if all(0 <= c < n for c, n in zip(at, x.shape)):
            wide[at] = COMBINE[op.reduction](wide[at], updates[i].astype(wide.dtype))
    return wide


def _scatter_along(op, x, indices, updates):
    wide = x.astype(np.float64) if x.dtype.kind not in "biu" else x.copy()
    for i in np.ndindex(*indices.shape):
        if 0 <= indices[i] < x.shape[op.axis]:
            at = (*i[:op.axis], indices[i], *i[op.axis + 1:])
            wide[at] = COMBINE[op.reduction](wide[at], updates[i].astype(wide.dtype))
    return wide


# ---- reductions, windows, contractions ------------------------------------------------------------------------------
def _fold(kind, dtype, values):
    """`values` under `kind`, in Python's integers or in float64."""
    is_float = as_dtype(dtype).is_float
    values = [float(v) if is_float else int(v) for v in values]
    if kind in ("sum", "prod"):
        return sum(values) if kind == "sum" else math.prod(values)
    nans = [v for v in values if v != v]
    if nans or not values:
        limit = as_dtype(dtype).minimum if kind == "max" else as_dtype(dtype).maximum
        return nans[0] if nans else limit
    return max(values) if kind == "max" else min(values)


def _finished(exact, dtype, shape):
    exact = np.array(exact, object).reshape(shape)
    if as_dtype(dtype).is_float:
        return exact.astype(np.float64)
    return exact.astype(bool) if dtype == bool else _wrapped(exact, dtype)


def _reduce(op, x):
    kept = [i for i in range(x.ndim) if i not in op.axes]
    rows = x.transpose(kept + list(op.axes))
    shape = tuple(x.shape[i] for i in kept)
    exact = [_fold(op.kind, x.dtype, rows[i].ravel()) for i in np.ndindex(*shape)]
    return _finished(exact, x.dtype, shape)


def _arg_reduce(op, x):
    def first(row):
        values = [float(v) for v in row]
        if any(v != v for v in values):
            return next(i for i, v in enumerate(values) if v != v)
        return values.index(max(values) if op.kind == "max" else min(values))
    rows = np.moveaxis(x, op.axis, -1)
    return np.array([first(rows[i]) for i in np.ndindex(*rows.shape[:-1])], np.int64).reshape(rows.shape[:-1])


def _cumulative(op, x):
    def element(index):
        i = index[op.axis]
        seen = slice(i + op.exclusive, None) if op.reverse else slice(0, i + (not op.exclusive))
        return _fold(op.kind, x.dtype, x[(*index[:op.axis], seen, *index[op.axis + 1:])])
    exact = _by_index(x.shape, object, element)
    return _finished(exact, x.dtype, x.shape)


def _contract(op, x, y):
    wide = np.float64 if as_dtype(x.dtype).is_float else x.dtype
    return np.einsum(op.spec, x.astype(wide), y.astype(wide))


def _conv(op, x, w):
    torch = pytest.importorskip("torch")
    n = x.ndim - 2
    if x.shape[-1] == 0 or w.shape[-1] == 0:  # torch refuses these: one channel of zeros, and no output kept
        images = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] == 0)])
        kernels = np.pad(w, [(0, 0)] * n + [(0, w.shape[-2] == 0), (0, 1)])
        return _conv(op, images, kernels)[..., :w.shape[-1]]
    spread = x.astype(np.float64)
    for axis, d in enumerate(op.input_dilation, 1):
        if spread.shape[axis]:
            spread = np.repeat(spread, d, axis)
            spread = np.delete(spread, range(spread.shape[axis] - d + 1, spread.shape[axis]), axis)
            spread[(slice(None),) * axis + (np.arange(spread.shape[axis]) % d != 0,)] = 0
    spread = np.pad(spread, [(0, 0), *op.padding, (0, 0)])
    images = torch.from_numpy(np.moveaxis(spread, -1, 1).copy())
    kernels = torch.from_numpy(np.moveaxis(w.astype(np.float64), (-1, -2), (0, 1)).copy())
    convolve = getattr(torch.nn.functional, f"conv{n}d")
    result = np.moveaxis(convolve(images, kernels, stride=op.strides, dilation=op.dilation, groups=op.groups).numpy(),
                         1, -1)
    return result if as_dtype(x.dtype).is_float else _wrapped(np.rint(result).astype(np.int64), x.dtype)


def _pool(op, x):
    if op.kind == "max" and as_dtype(x.dtype).is_float and x.size:
        torch = pytest.importorskip("torch")
        spread = np.pad(x.astype(np.float64), [(0, 0), *op.padding, (0, 0)], constant_values=-np.inf)
        pool = getattr(torch.nn.functional, f"max_pool{x.ndim - 2}d")
        images = torch.from_numpy(np.moveaxis(spread, -1, 1).copy())
        return np.moveaxis(pool(images, op.window, op.strides, dilation=op.dilation).numpy(), 1, -1)
    dtype, spatial = as_dtype(x.dtype), tuple(range(1, x.ndim - 1))
    spread = np.pad(x, [(0, 0), *op.padding, (0, 0)], constant_values=dtype.minimum if op.kind == "max" else 0)
    reach = [(k - 1) * d + 1 for k, d in zip(op.window, op.dilation)]
    view = np.lib.stride_tricks.sliding_window_view(spread, reach, axis=spatial)
    view = view[(slice(None), *(slice(None, None, s) for s in op.strides), slice(None),
                 *(slice(None, None, d) for d in op.dilation))]
    axes = tuple(range(x.ndim, view.ndim))
    if op.kind == "max":
        return view.max(axes)
    return view.astype(np.float64).sum(axes) if dtype.is_float else view.sum(axes, dtype=x.dtype)


def _sort(op, x):
    torch = pytest.importorskip("torch")
    values, order = torch.sort(_tensor(x), dim=op.axis, descending=op.descending, stable=True)
    return values.numpy(), order.numpy()


# ---- random bits, control flow --------------------------------------------------------------------------------------
def threefry2x32(counter: tuple[int, int], key: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32-20 on Python integers, as the paper writes it."""
    rotations = (13, 15, 26, 6, 17, 29, 16, 24)
    words = [*key, 0x1BD11BDA ^ key[0] ^ key[1]]
    x, y = (counter[0] + words[0]) & WORD, (counter[1] + words[1]) & WORD
    for step in range(20):
        x = (x + y) & WORD
        r = rotations[step % 8]
        y = ((y << r | y >> (32 - r)) & WORD) ^ x
        if step % 4 == 3:
            injection = step // 4 + 1
            x = (x + words[injection % 3]) & WORD
            y = (y + words[(injection + 1) % 3] + injection) & WORD
    return x, y


def _random_bits(op, key):
    bits = [threefry2x32((n >> 32, n & WORD), (int(low), int(high)))[0] for low, high in key.reshape(-1, 2)
            for n in range(math.prod(op.shape))]
    return np.array(bits, np.uint32).reshape((*key.shape[:-1], *op.shape))


def _unpack(op, packed):
    """Each element looked up where the definition puts it: [batch][column // width][sums][column % width]."""
    out = np.empty(op.split, packed.dtype)
    for index in np.ndindex(*op.split):
        at = dict(zip(op.letters, index))
        extent = dict(zip(op.letters, op.split))
        batch, total = 0, 0
        for letter in op.batch:
            batch = batch * extent[letter] + at[letter]
        for letter in op.sums:
            total = total * extent[letter] + at[letter]
        out[index] = packed[batch, at[op.column] // op.width, total, at[op.column] % op.width]
    return out.reshape(op.shape)


def _unpack_winograd(op, packed):
    """The windows whose polynomials, each along both axes, take the packed values at the points: solved for."""
    points = [0.0, *(x for a in POINTS[op.outputs] for x in (a, -a))]
    rows = [x ** np.arange(3.0) / math.prod(x - p for p in points if p != x) for x in points]
    both = np.kron(*[np.array([*rows, [0.0, 0.0, 1.0]])] * 2)
    out = np.empty(op.shape)
    for channel, column in np.ndindex(*op.shape[2:]):
        values = packed[column // op.width, :, channel, column % op.width].astype(np.float64)
        out[..., channel, column] = np.linalg.lstsq(both, values)[0].reshape(3, 3)
    return out.astype(packed.dtype)


def _named(graph, *arrays):
    """What the sub-graphs of the samples compute, by name."""
    if graph.name == "scaled_sum":
        x, y = arrays
        return (x + y) * x, -(x + y)
    assert graph.name == "difference"
    x, y = arrays
    return x - y, np.abs(y)


def _cond(op, index, *arrays):
    return _named(op.branches[min(max(int(index), 0), len(op.branches) - 1)], *arrays)


def _while(op, n, x):
    return np.minimum(n, 0), x * 2.0 ** max(int(n), 0)


def _scan(op, h, *rest):
    if op.body.name == "doubling":
        return h * 2.0 ** op.length, np.stack([h * 2.0 ** t for t in range(op.length)])
    xs, w = rest
    ys = np.zeros_like(xs)
    for t in reversed(range(len(xs))) if op.reverse else range(len(xs)):
        h = (h * w + xs[t]).astype(h.dtype)
        ys[t] = xs[t] - h
    return h, ys


def _dequantize(op, codes, scales):
    shape = list(codes.shape)
    shape[op.axis] *= 8 // op.bits
    out = np.zeros(shape, np.float32)
    for index in np.ndindex(*shape):
        byte, group = list(index), list(index)
        byte[op.axis] //= 8 // op.bits
        group[op.axis] //= op.group
        code = int(codes[tuple(byte)])
        if op.bits == 4:
            code = code % 16 if index[op.axis] % 2 == 0 else code // 16
        out[index] = (code - op.zero) * np.float32(scales[tuple(group)])
    return out


ORACLES = {**{cls: _torch(name) for cls, name in (UNARY | BINARY).items()},
           **dict.fromkeys((ops.Div, ops.FloorDiv, ops.Mod, ops.Rem, ops.Pow), _divide),
           ops.Shl: _shift, ops.Shr: _shift, ops.Cast: _cast, ops.Select: _select,
           ops.IsInf: _is_inf, ops.Sign: _sign, ops.Compare: _compare, ops.Iota: _iota, ops.Reshape: _reshape,
           ops.Transpose: _transpose,
           ops.Broadcast: _broadcast, ops.Slice: _slice, ops.Pad: _pad, ops.Concat: _concat, ops.Take: _take,
           ops.TakeAlong: _take_along, ops.GatherNd: _gather_nd, ops.DynamicSlice: _dynamic_slice,
           ops.DynamicUpdateSlice: _dynamic_update_slice, ops.ScatterNd: _scatter_nd, ops.ScatterAlong: _scatter_along,
           ops.Reduce: _reduce, ops.ArgReduce: _arg_reduce, ops.Cumulative: _cumulative, ops.Contract: _contract,
           ops.Conv: _conv,
           ops.Pool: _pool, ops.Sort: _sort, ops.RandomBits: _random_bits, ops.Constant: lambda op: op.array.copy(),
           ops.Call: lambda op, *a: _named(op.body, *a), ops.Fused: lambda op, *a: _named(op.body, *a), ops.Cond: _cond,
           ops.While: _while, ops.Scan: _scan, ops.Unpack: _unpack, ops.UnpackWinograd: _unpack_winograd,
           ops.Dequantize: _dequantize, ops.StopGradient: lambda op, x: x.copy(),
           ops.Barrier: lambda op, x, *others: x.copy(),
           **dict.fromkeys((ops.Checkpoint, ops.CustomJvp, ops.CustomVjp), lambda op, *a: _named(op.body, *a))}
