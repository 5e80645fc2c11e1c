"""Does each rule of the Kernel IR have teeth?  One broken kernel for each, and the message that names the statement."""

import pytest

from lamina.compiler.core.dtypes import bool_, float32, int8, int32, int64
from lamina.compiler.core.errors import VerifyError
from lamina.compiler.kernel.ir import (Accumulate, Alloc, Binary, Bitcast, Buffer, Cast, Compare, Const, Fma, For, If,
                                       Kernel, Let, Load, Select, Store, Unary, Var)
from lamina.compiler.kernel.text import parse_kernel
from lamina.compiler.core.dims import symbol

GOOD = """
kernel tail(in x: f32[n, 16], out y: f32[n, 16], workspace w: f32[8]) symbols(n=1..) {
  parallel for i in n {
    register acc: f32[2, 8]
    unroll for u in 2 { vector(8) for v in 8 { acc[u, v] = x[i, u * 8 + v] } }
    let half: i64 = 16 // 2
    for j in 16 {
      if j < 12 { y[i, j] = x[i, j + 4] }
      y[i, j] += acc[j // half, j % 8]
    }
  }
  parallel for t in 8 { w[7 - t] = 0.0 }
}
"""


def test_good_kernel_passes():
    kernel = parse_kernel(GOOD)
    assert kernel.verify() is kernel


def kernel_of(body, params="in x: f32[4], out y: f32[4], out z: i64[4], in n: i64[4]"):
    return parse_kernel(f"kernel k({params}) symbols(s=1..9) {{\n{body}\n}}")


@pytest.mark.parametrize("body, message", [
    ("let a: f32 = 1.0\nlet a: f32 = 2.0", "in `let a: f32 = 2.0`: two variables are called 'a'"),
    ("for i in 2 { y[0] = 1.0 }\nfor i in 2 { y[1] = 1.0 }", "two variables are called 'i'"),
    ("for s in 2 { y[0] = 1.0 }", "two variables are called 's'"),
    ("stack y: f32[3]", "two buffers are called 'y'"),
    ("for i in 2 { let a: i64 = i }\ny[a] = 1.0", "in `y[a] = 1.0`: the variable 'a' is not defined here"),
    ("if true { stack t: f32[1] }\nt[0] = 1.0", "in `t[0] = 1.0`: the buffer 't' is not declared"),
    ("y[0, 1] = 1.0", "'y' has 1 dims, 2 indices are given"),
    ("y[i32(1)] = 1.0", "index 0 of 'y' is i32, not i64"),
    ("y[0] = x[u8(1)]", "index 0 of 'x' is u8, not i64"),
    ("y[0] = x[0] + 1", "in `y[0] = x[0] + 1`: x[0] + 1 has operands of f32 and i64"),
    ("y[0] = select(x[0] < 1, x[0], x[1])", "x[0] < 1 has operands of f32 and i64"),
    ("y[0] = select(true, x[0], 1)", "select(true, x[0], 1) has operands of f32 and i64"),
    ("y[0] = select(1, x[0], x[1])", "the condition of select(1, x[0], x[1]) is i64, not bool"),
    ("y[0] = fma(x[0], x[1], 1)", "has operands of f32 and i64"),
    ("y[0] = 1", "'y' holds f32, the value is i64"),
    ("x[0] = 1.0", "in `x[0] = 1.0`: 'x' is written, its role is 'in'"),
    ("x[0] += 1.0", "in `x[0] += 1.0`: 'x' is written, its role is 'in'"),
    ("register t: f32[s]", "the register buffer 't' has a symbolic shape"),
    ("stack t: f32[q]", "the symbol 'q' of buffer 't' is not declared"),
    ("for i in 2 { parallel for j in 2 { y[j] = 1.0 } }",
     "in `parallel for j in 2 { … }`: a parallel loop is not at the top level"),
    ("if true { parallel for j in 2 { y[j] = 1.0 } }", "a parallel loop is not at the top level"),
    ("stack t: f32[2]\nparallel for j in 2 { t[j] = 1.0 }", "the local buffer 't' is not visible in the parallel loop"),
    ("unroll for i in s { y[0] = 1.0 }", "in `unroll for i in s { … }`: an unrolled loop has no constant extent"),
    ("for i in 1.0 { y[0] = 1.0 }", "the extent is f32, not i64"),
    ("vector(0) for i in 4 { y[i] = 1.0 }", "width 0, interleave 1: they are 1 or more"),
    ("if 1 { y[0] = 1.0 }", "the condition is i64, not bool"),
    ("let a: f32 = 1", "'a' is f32, its value is i64"),
    ("z[0] = i64(300:u8)", "300 does not fit u8"),
    ("z[0] = exp(1)", "exp does not take i64"),
    ("y[0] = x[0] & x[1]", "and does not take f32"),
    ("y[0] = x[0] << x[1]", "shl does not take f32"),
    ("y[0] = ~x[0]", "not does not take f32"),
    ("y[0] |= x[0]", "'or' does not take f32"),
    ("y[0] = bitcast<f32>(n[0])", "a bitcast from i64 to f32 changes the width"),
    ("for i in 5 { y[i] = 1.0 }", "in `y[i] = 1.0`: index 0 of 'y' runs over 0..4, the extent is 4"),
    ("for i in 4 { y[i] = x[i - 1] }", "index 0 of 'x' runs over -1..2, the extent is 4"),
    ("for i in 2 { for j in 2 { y[i * 2 + j + 1] = 1.0 } }", "index 0 of 'y' runs over 1..4, the extent is 4"),
    ("for i in 4 { let a: i64 = 3 * i // 2 + 1\ny[a] = 1.0 }", "index 0 of 'y' runs over 1..5"),
    ("y[4] = 1.0", "index 0 of 'y' runs over 4..4"),
    ("for i in 8 { y[min(i, 5)] = 1.0 }", "index 0 of 'y' runs over 0..5"),
    ("choose a: f32[4] role(in) = x at 1.0", "the number of a choice is f32, not i64"),
    ("choose a: f32[4] role(in) = x at 1", "the choice runs over 1..1, there are 1"),
    ("choose a: f32[4] role(in) = x, y at 0", "'y' is no 'a'"),
    ("choose a: f32[5] role(in) = x at 0", "'x' is no 'a'"),
    ("choose a: i64[4] role(in) = x at 0", "'x' is no 'a'"),
    ("stack t: f32[4]\nchoose a: f32[4] = t at 0", "'t' is chosen, which is no parameter"),
    ("choose y: f32[4] role(in) = x at 0", "two buffers are called 'y'"),
    ("choose a: f32[4] role(in) = x at 0\na[0] = 1.0", "'a' is written, its role is 'in'"),
    ("if true { choose a: f32[4] role(in) = x at 0 }\ny[0] = a[0]", "the buffer 'a' is not declared here"),
])
def test_broken_rule_is_named(body, message):
    with pytest.raises(VerifyError) as error:
        kernel_of(body).verify()
    assert message in str(error.value)


def test_choices_are_equally_far_apart():
    params = "in a: f32[4], in b: f32[4], out y: f32[4], in c: f32[4]"
    kernel_of("choose any: f32[4] role(in) = a, b at 0\ny[0] = any[0]", params).verify()
    with pytest.raises(VerifyError, match="the choices of 'any' are not equally far apart"):
        kernel_of("choose any: f32[4] role(in) = a, b, c at 0\ny[0] = any[0]", params).verify()


@pytest.mark.parametrize("body", [
    "for i in 5 { if i < 4 { y[i] = 1.0 } }",
    "for i in 10 { y[i // 4 * 4 + i % 4 - i] = 1.0 }",
    "for i in 9 { y[max(min(i, 3), 0)] = 1.0 }",
    "for i in s { y[i] = 1.0 }",
    "for i in 0 { y[17] = 1.0 }",
    "for i in 4 { y[n[i]] = 1.0 }",
])
def test_only_certain_violations_are_reported(body):
    kernel_of(body).verify()


Y = Buffer("y", float32, (4,), role="out")
ONE = Const(1.0, float32)


def at(i):
    return (Const(i, int64),)


@pytest.mark.parametrize("statement, message", [
    (Store(Y, at(0), Unary("cosine", ONE)), "no unary operation is called 'cosine'"),
    (Store(Y, at(0), Binary("hypot", ONE, ONE)), "no binary operation is called 'hypot'"),
    (Store(Y, at(0), Select(Compare("less", ONE, ONE), ONE, ONE)), "no comparison is called 'less'"),
    (Accumulate(Y, at(0), "sub", ONE), "nothing accumulates with 'sub'"),
    (Store(Buffer("y", float32, (4,), role="out"), at(0), ONE), "another buffer 'y' is declared"),
    (Alloc(Buffer("t", float32, (4,), role="out", space="stack")), "an allocated buffer has the role 'out'"),
    (Alloc(Buffer("t", float32, (4,), space="cloud")), "no space is called 'cloud'"),
    (For(Var("i", int32), Const(2, int64), ()), "the loop variable is i32, not i64"),
    (For(Var("i"), Const(2, int64), (), "sideways"), "no loop is of the kind 'sideways'"),
    (For(Var("i"), Const(2, int64), (Store(Y, (Cast(int64, Var("i", int32)),), ONE),)),
     "'i' is i64, it is used as i32"),
    (Store(Y, at(0), Cast(float32, Const(200, int8))), "200 does not fit i8"),
    (Store(Y, at(0), Cast(float32, Const(2, bool_))), "2 is no constant of bool"),
    (Let(Var("b", bool_), Fma(Const(True, bool_), Const(True, bool_), Const(True, bool_))), "fma does not take bool"),
    (If(Const(True, bool_), (Store(Y, at(0), Bitcast(float32, Const(1, int8))),)),
     "a bitcast from i8 to f32 changes the width"),
    (Store(Y, at(0), Load(Buffer("x", float32, (4,)), at(0))), "the buffer 'x' is not declared"),
])
def test_rules_that_text_can_not_break(statement, message):
    with pytest.raises(VerifyError) as error:
        Kernel("k", (Y,), (statement,)).verify()
    assert message in str(error.value)


@pytest.mark.parametrize("param, message", [
    (Buffer("x", float32, (symbol("m"),), role="in"), "the symbol 'm' of buffer 'x' is not declared"),
    (Buffer("x", float32, (4,), (1, 4), role="in"), "1 dims have 2 strides"),
    (Buffer("x", float32, (4,), role="local"), "a parameter has no role"),
    (Buffer("x", float32, (4,), role="in", space="stack"), "a parameter lives in global memory"),
    (Buffer("x", float32, (4,), role="borrowed"), "no role is called 'borrowed'"),
])
def test_parameters_are_checked(param, message):
    with pytest.raises(VerifyError) as error:
        Kernel("k", (param,), ()).verify()
    assert message in str(error.value)
