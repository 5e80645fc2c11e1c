"""Are the cells of recurrent networks one kernel a step, and right: in any dtype, batch, direction?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.graph import walk
from lamina.compiler.ops.control import Fused
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.targets import find_target

DTYPES = {"float32": 2e-5, "float64": 1e-12, "float16": 2e-2, "bfloat16": 1e-1}


def weights(gates, hidden, dtype="float32", seed=0):
    """The weights [hidden, gates * hidden] of a state, small enough to keep states apart from 1."""
    drawn = np.random.default_rng((gates, hidden, seed)).uniform(-1, 1, (hidden, gates * hidden)) / hidden ** 0.5
    return drawn.astype(as_dtype(dtype).numpy)


def lstm(w, peepholes=None):
    """(carry, inputs of all gates) -> (carry, h): Hochreiter and Schmidhuber 1997; Gers and Schmidhuber 2000."""
    def step(carry, x):
        h, c = carry
        i, f, g, o = lm.split(x + h @ w, 4, axis=-1)
        if peepholes is not None:
            i, f, o = i + peepholes[0] * c, f + peepholes[1] * c, o + peepholes[2] * c
        c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
        h = lm.sigmoid(o) * lm.tanh(c)
        return (h, c), h
    return step, 2


def lstm_by_gate(w):
    """The same, each gate with weights of its own."""
    wi, wo, wf, wg = np.split(w, 4, axis=1)

    def step(carry, x):
        h, c = carry
        xi, xo, xf, xg = lm.split(x, 4, axis=-1)
        i, f, o = lm.sigmoid(xi + h @ wi), lm.sigmoid(xf + h @ wf), lm.sigmoid(xo + h @ wo)
        c = f * c + i * lm.tanh(xg + h @ wg)
        h = o * lm.tanh(c)
        return (h, c), h
    return step, 2


def gru_after(w):
    """Cho and others 2014, as cuDNN computes it: the reset gate scales the product."""
    def step(carry, x):
        (h,) = carry
        xz, xr, xn = lm.split(x, 3, axis=-1)
        hz, hr, hn = lm.split(h @ w, 3, axis=-1)
        z, r = lm.sigmoid(xz + hz), lm.sigmoid(xr + hr)
        h = (1 - z) * lm.tanh(xn + r * hn) + z * h
        return (h,), h
    return step, 1


def gru_before(w):
    """As in the first paper: the reset gate scales the state before its product."""
    hidden = w.shape[0]

    def step(carry, x):
        (h,) = carry
        xz, xr, xn = lm.split(x, 3, axis=-1)
        hz, hr = lm.split(h @ w[:, :2 * hidden], 2, axis=-1)
        z, r = lm.sigmoid(xz + hz), lm.sigmoid(xr + hr)
        h = (1 - z) * lm.tanh(xn + (r * h) @ w[:, 2 * hidden:]) + z * h
        return (h,), h
    return step, 1


def network(make, w, shape, reverse=False):
    """The function from inputs [time, *batch, gates * hidden] to all outputs and the last carry."""
    def run(xs):
        step, carries = make(w)
        zeros = lm.zeros(shape, xs.dtype)
        last, ys = lm.scan(step, (zeros,) * carries, xs, reverse=reverse)
        return (ys, *last)
    return run


def kinds(graph, options=lm.Options()):
    """The kinds of the groups inside of loops, and what fusion remarked."""
    remarks = Remarks()
    grouped = run_pipeline(graph, find_target(options.target), options, remarks)
    loop = next(n.op for n in grouped.nodes if hasattr(n.op, "carries"))
    return [n.op.kind for n in walk(loop.body) if isinstance(n.op, Fused)], [str(r) for r in remarks]


CELLS = {"lstm": (lstm, 4), "lstm, gate by gate": (lstm_by_gate, 4), "gru, reset after": (gru_after, 3),
         "gru, reset before": (gru_before, 3)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 5)])
@pytest.mark.parametrize("cell", CELLS)
def test_cells(cell, batch, dtype):
    make, gates = CELLS[cell]
    for hidden, reverse in ((5, False), (16, True), (33, False)):
        w = weights(gates, hidden, dtype)
        f = network(make, w, (*batch, hidden), reverse)
        xs = np.random.default_rng(hidden).standard_normal((4, *batch, gates * hidden)).astype(w.dtype)
        graph = lm.trace(f, lm.TensorSpec(xs.shape, dtype))
        found, _ = kinds(graph)
        assert found.count("gated") == 1
        for got, want in zip(lm.compile(graph)(xs), graph.evaluate(xs)):
            np.testing.assert_allclose(got.astype("float64"), want.astype("float64"), atol=DTYPES[dtype])


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_an_lstm_is_one_kernel_a_step_on_every_target(target):
    graph = lm.trace(network(lstm, weights(4, 64), (8, 64)), lm.TensorSpec((7, 8, 256)))
    found, _ = kinds(graph, lm.Options(target=target))
    assert found == ["gated"]


def test_peepholes_are_part_of_the_cell():
    peepholes = weights(1, 24)[:3]
    graph = lm.trace(network(lambda w: lstm(w, peepholes), weights(4, 24), (3, 24)), lm.TensorSpec((5, 3, 96)))
    found, _ = kinds(graph)
    assert found.count("gated") == 1
    xs = np.random.default_rng(0).standard_normal((5, 3, 96)).astype("float32")
    for got, want in zip(lm.compile(graph)(xs), graph.evaluate(xs)):
        np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_time_and_batch_may_be_symbolic(cell):
    make, gates = CELLS[cell]
    w = weights(gates, 40)

    def f(xs):
        step, carries = make(w)
        zeros = lm.zeros((xs.shape[1], 40))
        last, ys = lm.scan(step, (zeros,) * carries, xs)
        return (ys, *last)
    executable = lm.compile(f, lm.TensorSpec(("time", "batch", gates * 40)), dims={"time": (0, 50), "batch": (1, 40)})
    for time, batch in ((3, 1), (2, 7), (1, 40), (0, 2)):
        xs = np.random.default_rng(time).standard_normal((time, batch, gates * 40)).astype("float32")
        graph = lm.trace(f, lm.TensorSpec(xs.shape))
        for got, want in zip(executable(xs), graph.evaluate(xs)):
            np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("cell", CELLS)
def test_large_cells_are_bitwise_equal_on_any_number_of_threads(cell, batch):
    make, gates = CELLS[cell]
    hidden = 601
    graph = lm.trace(network(make, weights(gates, hidden), (batch, hidden)), lm.TensorSpec((3, batch, gates * hidden)))
    executable = lm.compile(graph)
    assert "parallel" in executable.text("kernels")
    xs = np.random.default_rng(0).standard_normal((3, batch, gates * hidden)).astype("float32")
    one = executable(xs, threads=1)
    for got, want in zip(one, graph.evaluate(xs)):
        np.testing.assert_allclose(got, want, atol=2e-5)
    for threads in (2, 7):
        for a, b in zip(one, executable(xs, threads=threads)):
            assert a.tobytes() == b.tobytes()


def test_every_level_computes_the_same():
    for make, gates in CELLS.values():
        graph = lm.trace(network(make, weights(gates, 7), (2, 7)), lm.TensorSpec((3, 2, gates * 7)))
        lm.compile(graph, options=lm.Options(check="each"))


def test_a_gated_linear_unit_is_one_kernel():
    w = weights(2, 48)

    def f(x):
        gate, value = lm.split(x @ w, 2, axis=-1)
        return lm.silu(gate) * value
    executable = lm.compile(f, lm.TensorSpec((19, 48)))
    assert len(executable.kernels) == 1
    x = np.random.default_rng(0).standard_normal((19, 48)).astype("float32")
    np.testing.assert_allclose(executable(x)[0], lm.trace(f, lm.TensorSpec((19, 48))).evaluate(x)[0], atol=2e-5)


def leaving(a, b):
    return a, lm.sum(b, axis=0) + a


@pytest.mark.parametrize("name, body, reason", [
    ("weights of every call", lambda h, w: lm.split(h @ w, 2, axis=-1), "not known while compiling"),
    ("overlapping parts", lambda h, w: (lambda p: (p[:, :10], p[:, 5:15]))(h @ weights(2, 8)), "its parts differ"),
    ("a gate that leaves", lambda h, w: leaving(*lm.split(h @ weights(2, 8), 2, axis=-1)), "not part of the cell"),
])
def test_a_refusal_says_why(name, body, reason):
    def f(h, w):
        a, b = body(h, w)
        return lm.tanh(a) * b
    specs = lm.TensorSpec((3, 8)), lm.TensorSpec((8, 16))
    graph = lm.trace(f, *specs)
    remarks = Remarks()
    grouped = run_pipeline(graph, find_target("host"), lm.Options(), remarks)
    assert "gated" not in [n.op.kind for n in walk(grouped) if isinstance(n.op, Fused)]
    assert any(reason in str(r) for r in remarks), [str(r) for r in remarks]
    arrays = [np.random.default_rng(0).standard_normal(s.shape).astype("float32") for s in specs]
    np.testing.assert_allclose(lm.compile(graph)(*arrays)[0], graph.evaluate(*arrays)[0], atol=2e-5)
