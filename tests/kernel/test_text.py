"""Does a kernel's text read back as the same kernel?  Random kernels, all constants, symbolic dims, clear errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import ALL, INTEGERS, as_dtype, bool_, float32, float64, int64
from lamina.compiler.core.errors import FormatError
from lamina.compiler.kernel.ir import (BINARY, COMPARE, REDUCTIONS, UNARY, Accumulate, Alloc, Binary, Bitcast, Buffer,
                                       Cast, Choose, Compare, Const, Fma, For, If, Kernel, Let, Load, Prefetch, Select, Store, Unary, Var)
from lamina.compiler.kernel.text import parse_kernel, print_kernel, structural_key

SOFTMAX = """\
kernel softmax(in x: f32[batch, 64], out y: f32[batch, 64]) symbols(batch=1..128%8) {
  parallel for i in batch {
    register top: f32[1]
    top[0] = -inf
    vector(8, 2) for j in 64 {
      top[0] max= x[i, j]
    }
    stack e: f32[64]
    for j_1 in 64 {
      let m: f32 = exp(x[i, j_1] - top[0])
      e[j_1] = m
    }
    if i % 2 == 0 & 1 {
      prefetch x[i + 1, 0]
    } else {
      stream y[i, 0] = fma(e[0], 0.5, -(1.0))
    }
  }
}
"""


def test_text_is_what_the_page_says():
    assert print_kernel(parse_kernel(SOFTMAX)) == SOFTMAX
    assert str(parse_kernel(SOFTMAX)) == SOFTMAX


def test_dims_keep_their_facts():
    batch = parse_kernel(SOFTMAX).params[0].shape[0]
    assert batch == symbol("batch", 1, 128, 8)


n = symbol("n", 1, 64)
BUFFERS = [Buffer("x", float32, (n, 4), role="in"), Buffer("y", float64, (n * 2 + 1,), (3,), role="out"),
           Buffer("layer.0/w", float32, ((n + 3) // 4, 2), role="constant"), Buffer("for", int64, (), role="inout"),
           Buffer("scratch", bool_, (7,), role="workspace")]
NAMES = ["i", "j", "value", "with", "a b", "x", "inf", "f32"]


def constants():
    def of(dtype):
        if dtype.is_float:
            return st.builds(Const, st.floats(width=dtype.bits if dtype.name != "bfloat16" else 16), st.just(dtype))
        if dtype.is_bool:
            return st.builds(Const, st.booleans(), st.just(dtype))
        return st.builds(Const, st.integers(dtype.minimum, dtype.maximum), st.just(dtype))
    return st.sampled_from(ALL).flatmap(of)


def expressions(names):
    leaves = constants()
    if names:
        leaves = leaves | st.builds(Var, st.sampled_from(names), st.just(int64))

    def larger(e):
        index = {b.name: st.tuples(*[e] * len(b.shape)) for b in BUFFERS}
        loads = st.sampled_from(BUFFERS).flatmap(lambda b: st.builds(Load, st.just(b), index[b.name]))
        return st.one_of(loads, st.builds(Unary, st.sampled_from(UNARY), e),
                         st.builds(Binary, st.sampled_from(BINARY), e, e),
                         st.builds(Compare, st.sampled_from(COMPARE), e, e), st.builds(Select, e, e, e),
                         st.builds(Fma, e, e, e),
                         st.builds(Cast, st.sampled_from(ALL), e), st.builds(Bitcast, st.sampled_from(ALL), e))
    return st.recursive(leaves, larger, max_leaves=8)


@st.composite
def blocks(draw, depth, names):
    body, names = [], list(names)
    for _ in range(draw(st.integers(0, 3))):
        e = expressions(names)
        kind = draw(st.sampled_from(["for", "if", "let", "alloc", "store", "accumulate", "prefetch", "choose"]))
        buffer = draw(st.sampled_from(BUFFERS))
        index = tuple(draw(e) for _ in buffer.shape)
        if kind in ("for", "if") and depth == 0:
            continue
        if kind == "for":
            name = draw(st.sampled_from(NAMES))
            shape = draw(st.sampled_from([("serial", 1, 1), ("parallel", 1, 1), ("vector", 8, 1), ("vector", 8, 2),
                                          ("unroll", 1, 4)]))
            body.append(For(Var(name), draw(e), draw(blocks(depth - 1, [*names, name])), *shape))
        elif kind == "if":
            body.append(If(draw(e), draw(blocks(depth - 1, names)), draw(blocks(depth - 1, names))))
        elif kind == "let":
            name = draw(st.sampled_from(NAMES))
            body.append(Let(Var(name), draw(e)))
            names.append(name)
        elif kind == "alloc":
            space = draw(st.sampled_from(["stack", "register"]))
            body.append(Alloc(Buffer(f"local{draw(st.integers(0, 9))}", float32, (4, 2),
                                     draw(st.sampled_from([(), (1, 4)])), space=space)))
        elif kind == "store":
            body.append(Store(buffer, index, draw(e), draw(st.booleans())))
        elif kind == "accumulate":
            body.append(Accumulate(buffer, index, draw(st.sampled_from(REDUCTIONS)), draw(e)))
        elif kind == "prefetch":
            body.append(Prefetch(buffer, index))
        else:
            choices = tuple(draw(st.lists(st.sampled_from(BUFFERS), min_size=1, max_size=3)))
            body.append(Choose(replace(buffer, name=f"chosen{draw(st.integers(0, 9))}"), choices, draw(e)))
    return tuple(body)


@settings(max_examples=60, deadline=None)
@given(blocks(2, ["n"]))
def test_random_kernels_round_trip(body):
    kernel = Kernel("k 1", tuple(BUFFERS), body, ("n",))
    text = print_kernel(kernel)
    again = parse_kernel(text)
    assert print_kernel(again) == text
    assert structural_key(again) == structural_key(kernel)


def store_of(e, dtype=None):
    y = Buffer("y", dtype or e.dtype, (), role="out")
    return Kernel("k", (y,), (Store(y, (), e),))


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_float_constants_are_exact(dtype):
    dtype = as_dtype(dtype)
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << dtype.bits, 300, dtype=np.uint64).astype(f"uint{dtype.bits}")
    with np.errstate(invalid="ignore"):
        drawn = bits.view(dtype.numpy).astype(np.float64)
    for value in (*drawn, math.inf, -math.inf, math.nan, 0.0, -0.0):
        read = parse_kernel(print_kernel(store_of(Const(float(value), dtype)))).body[0].value
        assert read.dtype == dtype
        with np.errstate(over="ignore"):
            got, meant = dtype.numpy.type(read.value), dtype.numpy.type(value)
        same = got == meant and math.copysign(1, got) == math.copysign(1, meant)
        assert same or math.isnan(got) and math.isnan(meant)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_constants_are_exact(dtype):
    for value in (dtype.minimum, dtype.maximum, 0, 1):
        read = parse_kernel(print_kernel(store_of(Const(value, dtype)))).body[0].value
        assert (read.value, read.dtype) == (value, dtype)


def test_negated_constant_is_not_a_negative_constant():
    read = parse_kernel(print_kernel(store_of(Unary("neg", Const(0.0, float32))))).body[0].value
    assert isinstance(read, Unary)


def test_shared_expressions_do_not_explode():
    x = Buffer("x", float32, (), role="in")
    e = Load(x, ())
    for _ in range(200):
        e = Binary("add", e, e)
    y = Buffer("y", float32, (), role="out")
    text = print_kernel(Kernel("k", (x, y), (Store(y, (), e),)))
    assert len(text) < 20_000
    assert print_kernel(parse_kernel(text)) == text


def test_deep_expressions_do_not_overflow_the_stack():
    e = Const(1.0, float32)
    for n in range(5000):
        e = Binary("add", e, Const(float(n), float32))
    text = print_kernel(store_of(e, float32))
    assert print_kernel(parse_kernel(text)) == text


def test_structural_key_ignores_names_and_only_names():
    other = SOFTMAX
    for old, new in (("softmax", "k2"), ("x[", "input["), ("x:", "input:"), ("top", "peak"), ("for i ", "for row "),
                     ("[i,", "[row,"), ("[i +", "[row +"), ("if i", "if row"), ("j_1", "column")):
        other = other.replace(old, new)
    assert other != SOFTMAX
    key = structural_key(parse_kernel(SOFTMAX))
    assert structural_key(parse_kernel(other)) == key
    for old, new in (("0.5", "0.25"), ("vector(8, 2)", "vector(8)"), ("stream ", ""), ("batch=1..128%8", "batch"),
                     ("max=", "min=")):
        assert structural_key(parse_kernel(SOFTMAX.replace(old, new))) != key


@pytest.mark.parametrize("text, message", [
    ("kernel k(out y: f32[2]) {\n  y[0] = z\n}", "line 2: no variable is called 'z'"),
    ("kernel k(out y: f32[2]) {\n  z[0] = 1.0\n}", "line 2: no buffer is called 'z'"),
    ("kernel k(out y: f31[2]) {\n}", "line 1: a dtype was expected"),
    ("kernel k(out y: f32[2]) {\n  y[0] = cosine(1.0)\n}", "line 2: no operation is called 'cosine'"),
    ("kernel k(out y: f32[2]) {\n  y[0] = select(true, 1.0)\n}", "line 2: select takes 3 operands, not 2"),
    ("kernel k(out y: f32[2]) {\n  y[0] = 1.0", "line 2"),
    ("kernel k(out y: f32[2]) {\n}\n}", "line 3: '}' after the kernel's end"),
    ("kernel k(out y: f32[2]) {\n  y[0] = 1.0 ? 2.0\n}", "line 2: can't read '? 2.0"),
    ("kernel k(y: f32[2]) {}", "'in' or 'out'"),
])
def test_errors_name_the_line(text, message):
    with pytest.raises(FormatError) as error:
        parse_kernel(text)
    assert message in str(error.value)
