"""Do narrow weights lose what the documents say and no more, and stay narrow until a kernel reads them?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import LaminaError
from lamina.compiler.core.options import WEIGHTS
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.graph import walk
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.targets import find_target

KINDS = [k for k in WEIGHTS if k]
BYTES = {"bfloat16": 2, "float16": 2, "int8": 1, "int4": 0.5}


def matrix(inner, outer, seed=0):
    return np.random.default_rng((inner, outer, seed)).standard_normal((inner, outer)).astype("float32")


def error_bound(w, kind):
    """The most that each weight may change, as passes/narrow_weights.py has it."""
    if kind in ("bfloat16", "float16"):
        return np.abs(w) * {"bfloat16": 2.0 ** -8, "float16": 2.0 ** -11}[kind] + 1e-7
    if kind == "int8" or w.shape[0] % 32:
        return np.broadcast_to(np.abs(w).max(axis=0) / 254, w.shape) * (1 + 1e-5)
    most = np.abs(w.reshape(len(w) // 32, 32, -1)).max(axis=1)
    return np.repeat(most / 8, 32, axis=0) * (1 + 1e-3)


def constants_of(graph, kind):
    """The bytes of the constants behind the pipeline."""
    grouped = run_pipeline(graph, find_target("host"), lm.Options(weights=kind), Remarks())
    return sum(n.op.array.nbytes for n in grouped.nodes if hasattr(n.op, "array"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner, outer", [(128, 64), (96, 70), (130, 33), (33, 257), (64, 1000)])
def test_weights_lose_what_is_documented(kind, inner, outer):
    w = matrix(inner, outer)
    graph = lm.trace(lambda x: x @ w, lm.TensorSpec(("rows", inner)))
    executable = lm.compile(graph, options=lm.Options(weights=kind), dims={"rows": (1, 5000)})
    assert len(executable.kernels) == 1
    unit = np.eye(inner, dtype="float32")
    (got,) = executable(unit)
    assert (np.abs(got - w) <= error_bound(w, kind)).all()
    for rows in (1, 2, 7, 40):
        x = np.random.default_rng(rows).standard_normal((rows, inner)).astype("float32")
        np.testing.assert_allclose(executable(x)[0], x.astype("float64") @ got, rtol=1e-4, atol=1e-5 * inner)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_narrow_in_memory(kind):
    w = matrix(512, 256)
    graph = lm.trace(lambda x: lm.relu(x @ w + 1), lm.TensorSpec((1, 512)))
    assert w.size * BYTES[kind] <= constants_of(graph, kind) <= w.size * BYTES[kind] * 1.13


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 33])
def test_any_number_of_rows_and_threads(kind, rows):
    w, b = matrix(320, 1111), matrix(1, 1111)
    graph = lm.trace(lambda x: lm.tanh((x @ w + b) / 40), lm.TensorSpec((rows, 320)))
    executable = lm.compile(graph, options=lm.Options(weights=kind))
    symbolic = lm.compile(lambda x: lm.tanh((x @ w + b) / 40), lm.TensorSpec(("rows", 320)),
                          options=lm.Options(weights=kind), dims={"rows": (1, 40)})
    x = np.random.default_rng(0).standard_normal((rows, 320)).astype("float32")
    (one,) = executable(x, threads=1)
    np.testing.assert_allclose(one, symbolic(x)[0], atol=1e-5)
    np.testing.assert_allclose(one, graph.evaluate(x)[0], atol={"int4": 0.25}.get(kind, 2e-2))
    for threads in (2, 7):
        assert executable(x, threads=threads)[0].tobytes() == one.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_by_rows_and_on_the_left(kind):
    w = matrix(80, 96)  # [outer, inner]
    for f in (lambda x: x @ w.T, lambda x: lm.einsum("oi,bi->bo", w, x), lambda x: w @ x.T):
        graph = lm.trace(f, lm.TensorSpec((3, 96)))
        x = np.random.default_rng(0).standard_normal((3, 96)).astype("float32")
        (got,) = lm.compile(graph, options=lm.Options(weights=kind))(x)
        want = np.abs(x) @ error_bound(w.T, kind)
        assert (np.abs(got - graph.evaluate(x)[0]) <= (want if got.shape == want.shape else want.T) + 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_computes_the_same(kind):
    w = matrix(64, 70)
    lm.compile(lambda x: lm.relu(x @ w), lm.TensorSpec((3, 64)), options=lm.Options(weights=kind, check="each"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_every_target_has_code_for_them(kind, target):
    w = matrix(64, 70)
    graph = lm.trace(lambda x: x @ w, lm.TensorSpec((2, 64)))
    assert compile_graph(graph, options=lm.Options(weights=kind, target=target)).objects


def test_zeros_and_weights_that_do_not_fit():
    w = matrix(64, 70)
    w[:, 3] = 0
    w[:32, 5] = 0
    for kind in KINDS:
        executable = lm.compile(lambda x: x @ w, lm.TensorSpec((64, 64)), options=lm.Options(weights=kind))
        (got,) = executable(np.eye(64, dtype="float32"))
        assert (got[:, 3] == 0).all() and (got[:32, 5] == 0).all()
    large = w * np.float32(1e6)
    executable = lm.compile(lambda x: x @ large, lm.TensorSpec((3, 64)), options=lm.Options(weights="float16"))
    assert "do not fit float16" in executable.text("remarks")
    x = np.ones((3, 64), "float32")
    np.testing.assert_allclose(executable(x)[0], x @ large, rtol=1e-4, atol=50)


def test_small_and_other_weights_stay():
    column = matrix(5000, 1)
    x = np.ones((3, 5000), "float32")
    (got,) = lm.compile(lambda x: x @ column, lm.TensorSpec((3, 5000)), options=lm.Options(weights="int4"))(x)
    np.testing.assert_allclose(got, x @ column, rtol=1e-4)
    small, double = matrix(8, 8), matrix(100, 100).astype("float64")
    x = np.ones((2, 8), "float32")
    (got,) = lm.compile(lambda x: x @ small, lm.TensorSpec((2, 8)), options=lm.Options(weights="int4"))(x)
    np.testing.assert_allclose(got, x @ small, rtol=1e-5)
    x = np.ones((2, 100))
    (got,) = lm.compile(lambda x: x @ double, lm.TensorSpec((2, 100), "float64"), options=lm.Options(weights="int4"))(x)
    np.testing.assert_allclose(got, x @ double, rtol=1e-12)


@pytest.mark.parametrize("kind, kernels", [("bfloat16", ["gated"]), ("float16", ["gated"]), ("int8", None),
                                           ("int4", None)])
def test_cells(kind, kernels):
    w = matrix(64, 256) / 8

    def step(carry, x):
        h, c = carry
        i, f, g, o = lm.split(x + h @ w, 4, axis=-1)
        c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
        h = lm.sigmoid(o) * lm.tanh(c)
        return (h, c), h
    zeros = lm.zeros((2, 64))
    graph = lm.trace(lambda xs: lm.scan(step, (zeros, zeros), xs)[1], lm.TensorSpec((5, 2, 256)))
    xs = np.random.default_rng(0).standard_normal((5, 2, 256)).astype("float32")
    executable = lm.compile(graph, options=lm.Options(weights=kind))
    np.testing.assert_allclose(executable(xs)[0], graph.evaluate(xs)[0], atol={"int4": 0.1}.get(kind, 2e-2))
    if kernels:
        grouped = run_pipeline(graph, find_target("host"), lm.Options(weights=kind), Remarks())
        assert [n.op.kind for n in walk(grouped) if hasattr(n.op, "kind") and n.op.kind != "loops"] == kernels


def test_an_unknown_kind_is_an_error():
    with pytest.raises(LaminaError, match="Options.weights is 'int3'") as error:
        lm.Options(weights="int3")
    assert "'int4'" in str(error.value)
