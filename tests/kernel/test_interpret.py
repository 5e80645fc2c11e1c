"""Does the interpreter compute what the Kernel IR means?  Whole kernels against NumPy, and each operation's corners."""

import math

import numpy as np
import pytest

from lamina.compiler.core.dtypes import (INTEGERS, as_dtype, bfloat16, bool_, float16, float32, float64, int8, int16,
                                         int32, int64, uint8, uint32, uint64)
from lamina.compiler.core.errors import CompilerError, DTypeError, ShapeError, VerifyError
from lamina.compiler.kernel.builder import BlockBuilder, as_expr
from lamina.compiler.kernel.interpret import evaluate_expr, run
from lamina.compiler.kernel.ir import Binary, Bitcast, Buffer, Cast, Compare, Const, Fma, Load, Select, Unary, Var
from lamina.compiler.kernel.text import parse_kernel
from lamina.compiler.kernel.vectorized import evaluate_vectorized

SOFTMAX = parse_kernel("""
kernel softmax(in x: f32[rows, 40], out y: f32[rows, 40]) symbols(rows=1..) {
  parallel for i in rows {
    register best: f32[1]
    register total: f32[1]
    best[0] = -inf
    total[0] = 0.0
    vector(8, 2) for j in 40 { best[0] max= x[i, j] }
    stack e: f32[40]
    vector(8) for k in 40 {
      let v: f32 = exp(x[i, k] - best[0])
      e[k] = v
      total[0] += v
    }
    vector(8) for l in 40 { y[i, l] = e[l] / total[0] }
  }
}""")

MATMUL = parse_kernel("""
kernel matmul(in a: f32[m, 9], in b: f32[9, 32], out c: f32[m, 32]) symbols(m=4..%4) {
  parallel for it in m // 4 {
    for jt in 2 {
      register acc: f32[4, 16]
      unroll for i0 in 4 { vector(16) for j0 in 16 { acc[i0, j0] = 0.0 } }
      for k in 9 {
        unroll for i in 4 {
          let x: f32 = a[it * 4 + i, k]
          vector(16) for j in 16 { acc[i, j] = fma(x, b[k, jt * 16 + j], acc[i, j]) }
        }
      }
      unroll for i1 in 4 { vector(16) for j1 in 16 { c[it * 4 + i1, jt * 16 + j1] = acc[i1, j1] } }
    }
  }
}""")


def test_softmax():
    x = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    y, z = np.empty_like(x), np.empty_like(x)
    run(SOFTMAX.verify(), {"x": x, "y": y}, {"rows": 5})
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=2e-6)
    run(SOFTMAX, {"x": x, "y": z}, {"rows": 5}, backwards=True)
    np.testing.assert_array_equal(y, z)


def test_matmul_with_a_register_tile():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (8, 9)).astype(np.float32), rng.integers(-9, 9, (9, 32)).astype(np.float32)
    c = np.empty((8, 32), np.float32)
    run(MATMUL.verify(), {"a": a, "b": b, "c": c}, {"m": 8})
    np.testing.assert_array_equal(c, a @ b)


COPY = parse_kernel("""
kernel copy(in x: i32[3, 4] strides(1, 3), out y: i32[3, 4] strides(8, 2)) {
  for i in 3 { for j in 4 { y[i, j] = x[i, j] } }
}""")


def test_flat_arrays_are_memory():
    x, y = np.arange(12, dtype=np.int32), np.full(24, -1, np.int32)
    run(COPY, {"x": x, "y": y})
    np.testing.assert_array_equal(y.reshape(3, 4, 2)[:, :, 0], x.reshape(4, 3).T)
    assert (y.reshape(3, 4, 2)[:, :, 1] == -1).all()


def test_shaped_arrays_keep_their_own_strides():
    x, y = np.arange(12, dtype=np.int32).reshape(4, 3).T, np.zeros((6, 8), np.int32)
    run(COPY, {"x": x, "y": y[::2, ::2]})
    np.testing.assert_array_equal(y[::2, ::2], x)
    assert y.sum() == x.sum()


def test_gather_streams_and_branches():
    kernel = parse_kernel("""
    kernel g(in x: f32[5], in at: i64[3], inout y: f32[3], out odd: bool[3]) {
      for i in 3 {
        prefetch x[at[i]]
        if at[i] % 2 == 1 { stream y[i] = x[at[i]]
          odd[i] = true } else { y[i] *= 2.0
          odd[i] = false }
      }
    }""").verify()
    y, odd = np.full(3, 5, np.float32), np.zeros(3, bool)
    run(kernel, {"x": np.arange(5, dtype=np.float32), "at": np.array([3, 0, 1]), "y": y, "odd": odd})
    assert y.tolist() == [3.0, 10.0, 1.0] and odd.tolist() == [True, False, True]


def test_workspace_is_made_and_unwritten_memory_shows():
    kernel = parse_kernel("""
    kernel w(workspace t: f32[n, 2], out y: f32[n, 2]) symbols(n) {
      parallel for i in n { t[i, 0] = 1.0 }
      parallel for j in n { y[j, 0] = t[n - 1 - j, 0]
        y[j, 1] = t[j, 1] }
    }""").verify()
    y = np.zeros((3, 2), np.float32)
    run(kernel, {"y": y}, {"n": 3})
    assert (y[:, 0] == 1).all() and np.isnan(y[:, 1]).all()


@pytest.mark.parametrize("body, place", [("y[n] = x[n - 1]", r"y\[4\]"), ("y[0] = x[0 - n + 3]", r"x\[-1\]"),
                                         ("y[0] = select(n < 0, x[n], 0.0)", r"x\[4\]")])
def test_an_access_outside_is_an_error(body, place):
    kernel = parse_kernel(f"kernel k(in x: f32[n], out y: f32[n]) symbols(n) {{ {body} }}")
    with pytest.raises(VerifyError, match=place + ", outside of the shape"):
        run(kernel, {"x": np.zeros(4, np.float32), "y": np.zeros(4, np.float32)}, {"n": 4})


CHOICE = parse_kernel("""
kernel either(in a: f32[3], out p: f32[3], in b: f32[3], out q: f32[3]) {
  for part in 2 {
    choose x: f32[3] role(in) = a, b at part
    choose y: f32[3] role(out) = p, q at 1 - part
    for i in 3 { y[i] = x[i] + f32(part) }
  }
}""")


def test_buffers_are_chosen_by_number():
    a, b = np.arange(3, dtype="f4"), np.full(3, 5, "f4")
    p, q = np.zeros((2, 3), "f4")
    run(CHOICE.verify(), {"a": a, "b": b, "p": p, "q": q})
    np.testing.assert_array_equal(q, a)
    np.testing.assert_array_equal(p, b + 1)
    beyond = parse_kernel("kernel k(in n: i64[1], in a: f32[3], out y: f32[3]) "
                          "{ choose x: f32[3] role(in) = a at n[0]\n y[0] = x[0] }").verify()
    for number in (1, -1):
        with pytest.raises(VerifyError, match=f"reaches x\\[{number}\\], outside of the shape"):
            run(beyond, {"n": np.array([number]), "a": a, "y": p})
    with pytest.raises(ShapeError, match="from arrays of different strides"):
        run(CHOICE, {"a": a, "b": np.zeros(6, "f4")[::2], "p": p, "q": q})


def test_arrays_that_do_not_fit():
    x, y = np.zeros((5, 40), np.float32), np.zeros((5, 40), np.float32)
    with pytest.raises(ShapeError, match="needs the extent of rows"):
        run(SOFTMAX, {"x": x, "y": y})
    with pytest.raises(ShapeError, match="needs an array for in 'x'"):
        run(SOFTMAX, {"y": y}, {"rows": 5})
    with pytest.raises(ShapeError, match="has no parameter z"):
        run(SOFTMAX, {"x": x, "y": y, "z": y}, {"rows": 5})
    with pytest.raises(ShapeError, match="'x' has the shape"):
        run(SOFTMAX, {"x": x[:4], "y": y}, {"rows": 5})
    with pytest.raises(ShapeError, match="pass a copy"):
        run(SOFTMAX, {"x": x[::-1], "y": y}, {"rows": 5})
    with pytest.raises(DTypeError, match="'x' holds float32"):
        run(SOFTMAX, {"x": x.astype(np.float64), "y": y}, {"rows": 5})


def value(e, **env):
    return evaluate_expr(e, env)


def integers(op, dtype, x, y):
    return value(Binary(op, Const(x, dtype), Const(y, dtype)))


@pytest.mark.parametrize("op, dtype, x, y, expected", [
    ("add", int8, 127, 1, -128), ("sub", uint8, 0, 1, 255), ("mul", int32, 1 << 30, 4, 0),
    ("mul", uint64, 3, (1 << 64) - 1, (1 << 64) - 3),
    ("div", int32, -7, 2, -3), ("rem", int32, -7, 2, -1), ("floordiv", int32, -7, 2, -4), ("mod", int32, -7, 2, 1),
    ("mod", int32, 7, -2, -1),
    ("div", int8, -128, -1, -128), ("floordiv", int8, -128, -1, -128), ("rem", int8, -128, -1, 0),
    ("div", int32, 5, 0, 0), ("rem", int32, 5, 0, 0), ("floordiv", uint8, 5, 0, 0), ("mod", int64, 5, 0, 0),
    ("shl", int8, 1, 7, -128), ("shl", uint8, 1, 8, 0), ("shr", int8, -128, 99, -1), ("shr", uint8, 128, 9, 0),
    ("shr", int16, -5, 1, -3),
    ("shl", int32, 1, -1, 0), ("and", int8, -1, 12, 12), ("xor", uint8, 255, 15, 240), ("or", int64, -8, 3, -5),
    ("min", int32, -3, 2, -3), ("max", uint32, 3, 2, 3), ("pow", int8, 3, 5, -13), ("pow", int32, -1, -3, -1),
    ("pow", int32, 2, -1, 0),
])
def test_integer_operations(op, dtype, x, y, expected):
    assert integers(op, dtype, x, y) == expected


def f(value, dtype=float32):
    return Const(value, dtype)


def test_min_and_max_pass_nan():
    for op in ("min", "max"):
        for x, y in ((math.nan, 1.0), (1.0, math.nan)):
            assert math.isnan(value(Binary(op, f(x), f(y))))
    assert value(Binary("max", f(-1.0), f(2.0))) == 2 and value(Binary("min", f(-1.0), f(2.0))) == -1


@pytest.mark.parametrize("x, dtype, expected", [
    (1e10, int32, (1 << 31) - 1), (-1e10, int32, -(1 << 31)), (math.nan, int64, 0), (-1.0, uint8, 0),
    (255.9, uint8, 255), (-2.7, int8, -2),
    (math.inf, uint64, (1 << 64) - 1), (0.0, bool_, False), (math.nan, bool_, True), (0.5, bool_, True)])
def test_casts_from_floats(x, dtype, expected):
    assert value(Cast(dtype, f(x))) == expected


def test_casts_round_once():
    x = (1 << 60) + (1 << 36) + 1  # just above the middle of two f32; as an f64 it is the middle, and goes down
    got = value(Cast(float32, Const(x, int64)))
    assert got.dtype == np.float32 and got == np.int64(x).astype(np.float32)
    assert value(Cast(int8, Const(300, int32))) == 44 and value(Cast(uint8, Const(-1, int32))) == 255
    assert value(Cast(float64, f(0.1))) == np.float64(np.float32(0.1))
    assert value(Cast(float16, f(65536.0))) == np.inf and value(Cast(int32, Const(True, bool_))) == 1


def test_fma_rounds_once():
    eps = 2.0 ** -12
    assert value(Fma(f(1 + eps), f(1 + eps), f(-(1 + 2 * eps)))) == eps * eps
    third = 1 / 3
    assert value(Fma(f(third, float64), f(3.0, float64), f(-1.0, float64))) == -(2.0 ** -54)
    assert value(Fma(f(1e200, float64), f(1e200, float64), f(-math.inf, float64))) == -math.inf
    assert value(Fma(Const(100, int8), Const(2, int8), Const(1, int8))) == -55
    # the exact sum lies just above the middle of two f32, and an f64 sum would lie on it
    x, y, z = 1 + 2.0 ** -23, 1 + 2.0 ** -23, 2.0 ** 24
    exact = math.fsum([x * y, z])
    assert value(Fma(f(x), f(y), f(z))) == np.float32(exact) == 2.0 ** 24 + 2


def test_narrow_floats_stay_narrow():
    for dtype in (float16, bfloat16):
        x = np.array([0.1], dtype.numpy)
        got = evaluate_expr(Load(Buffer("x", dtype, (1,)), (Const(0, int64),)), {"x": x})
        assert got.dtype == dtype.numpy and got == x[0]
        total = value(Binary("add", Const(1.0, dtype), Const(0.001, dtype)))
        assert total.dtype == dtype.numpy and total == dtype.numpy.type(1) + dtype.numpy.type(0.001)


def test_bitcasts_selects_and_functions():
    assert value(Bitcast(int32, f(1.0))) == 0x3F800000
    negative_zero = value(Bitcast(float32, Const(-(1 << 31), int32)))
    assert negative_zero == 0 and math.copysign(1, negative_zero) == -1
    assert value(Select(Compare("lt", Var("n"), as_expr(3)), f(1.0), f(2.0)), n=2) == 1
    assert value(Unary("erf", f(0.5))) == np.float32(math.erf(0.5))
    assert value(Unary("round", f(2.5))) == 2 and value(Unary("round", f(-3.5))) == -4
    assert value(Unary("not", Const(5, uint8))) == 250 and value(Unary("not", Const(True, bool_))) is False
    assert value(Unary("neg", Const(-128, int8))) == -128 and value(Unary("abs", Const(-128, int8))) == -128
    assert value(Binary("mod", f(-1.0), f(3.0))) == 2 and value(Binary("rem", f(-1.0), f(3.0))) == -1
    assert math.isnan(value(Binary("rem", f(1.0), f(0.0))))


def test_every_function_is_known():
    from lamina.compiler.kernel.ir import UNARY
    for op in UNARY:
        if op != "not":
            assert value(Unary(op, f(0.5))).dtype == np.float32


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "u32", "i64", "u64"])
def test_arrays_and_scalars_agree(dtype):
    dtype = as_dtype(dtype)
    rng = np.random.default_rng(2)
    unsigned = np.dtype(f"uint{dtype.bits}")
    x, y, z = (rng.integers(0, np.iinfo(unsigned).max, 64, unsigned, endpoint=True).view(dtype.numpy) for _ in range(3))
    y[:8], x[4:12] = 0, x[:8]
    var = [Var(n, dtype) for n in "xyz"]
    ops = ("add", "sub", "mul", "min", "max") + (("div",) if dtype.is_float else ("and", "or", "xor", "shl", "shr"))
    trials = [Binary(op, *var[:2]) for op in ops]
    trials += [Compare(op, *var[:2]) for op in ("eq", "ne", "lt", "le", "gt", "ge")]
    trials += [Select(Compare("lt", *var[:2]), var[2], var[0]),
               *(Cast(d, var[0]) for d in (*INTEGERS, float32, float64, bool_) if d != dtype)]
    if dtype.is_float:
        trials += [Fma(*var), *(Unary(op, var[0]) for op in ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round"))]
        trials += [Bitcast(as_dtype(f"i{dtype.bits}"), var[0])]
    for e in trials:
        many = evaluate_vectorized(e, {"x": x, "y": y, "z": z})
        one = np.array([evaluate_expr(e, {"x": a, "y": b, "z": c}) for a, b, c in zip(x, y, z)], many.dtype)
        np.testing.assert_array_equal(many, one, err_msg=str(e))


def test_arrays_refuse_what_is_not_primitive():
    with pytest.raises(CompilerError, match="exp of f32 is no primitive"):
        evaluate_vectorized(Unary("exp", Var("x", float32)), {"x": np.zeros(1, np.float32)})


def test_builder_makes_runnable_kernels():
    from lamina.compiler.core.dims import symbol
    from lamina.compiler.kernel.builder import load
    from lamina.compiler.kernel.ir import Kernel
    n = symbol("n")
    x, y = Buffer("x", float64, (n,), role="in"), Buffer("y", float64, (n,), role="out")
    block = BlockBuilder()
    with block.loop("i", n, "vector", 4) as i:
        block.store(y, (i,), Unary("sqrt", load(x, (i,))))
    kernel = Kernel("k", (x, y), block.statements, ("n",)).verify()
    out = np.zeros(6)
    run(kernel, {"x": np.arange(6.0) ** 2, "y": out}, {"n": 6})
    assert out.tolist() == [0, 1, 2, 3, 4, 5]
