"""What is a result that nothing computes?  Returned twice, returned as it came, a constant, a view: each is an array of
its own."""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.materialize import materialize

from .programs import floats, program_of

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def twice(x):
    y = lm.tanh(x)
    return y, y


def unchanged(x):
    return x, lm.tanh(x), x


def constant(x):
    return lm.asarray(TABLE), lm.tanh(x), lm.asarray(TABLE)


def viewed(x):
    return x.T, x[1:, ::2], lm.reshape(x, (2, 6)), lm.broadcast_to(x, (2, 3, 4)), lm.flip(x, axis=1)


def viewed_result(x):
    y = lm.tanh(x)
    return y, y.T, y[::-1], lm.reshape(y, (4, 3))


def viewed_constant(x):
    return lm.asarray(TABLE).T, lm.sum(x)


def view_of_a_view(x):
    return lm.reshape(x.T, (2, 6)), lm.reshape(lm.reshape(x.T, (12,)), (3, 4))


def joined_and_returned(x):
    y = lm.exp(x)
    return lm.concat([y, y], axis=0), y, lm.pad(y, ((1, 1), (0, 0)))


def scalar_of_everything(x):
    return lm.ones((3,)), lm.zeros((2, 2)), lm.sum(x)


CASES = [twice, unchanged, constant, viewed, viewed_result, viewed_constant, view_of_a_view, joined_and_returned,
         scalar_of_everything]
OF_ANY_BATCH = [f for f in CASES if f not in (viewed, viewed_result, view_of_a_view)]  # those name three rows


@pytest.mark.parametrize("function, batch", [(f, 3) for f in CASES] + [(f, "batch") for f in OF_ANY_BATCH],
                         ids=lambda v: getattr(v, "__name__", str(v)))
def test_results_are_arrays_of_their_own(function, batch):
    graph = lm.trace(function, floats(batch, 4), dims={"batch": (1, 8)} if batch == "batch" else None)
    want = graph.evaluate(X)
    native = lm.compile(graph)(X)
    for results in (run(program_of(graph).verify(), [X]), native):
        for a, b in zip(results, want, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
    arrays = [X, *native]
    for i, a in enumerate(arrays):
        assert a.flags.c_contiguous and a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in arrays[i + 1:])


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_materialized_graphs_compute_the_same(function):
    graph = canonicalize(lm.trace(function, floats(3, 4)))
    after = materialize(graph).verify()
    assert after.output_names == graph.output_names and [p.type for p in after.params] == [p.type for p in graph.params]
    for a, b in zip(after.evaluate(X), graph.evaluate(X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("function, copies",
                         [(twice, 1), (unchanged, 2), (constant, 2), (viewed_result, 3), (joined_and_returned, 3)],
                         ids=lambda v: getattr(v, "__name__", v))
def test_no_more_copies_than_results_need(function, copies):
    from lamina.compiler.plan.program import walk_launches
    program = program_of(lm.trace(function, floats(3, 4)))
    labels = [launch.label for launch in walk_launches(program.steps)]
    assert labels.count("copy") <= copies, labels


def test_loops_and_branches_are_materialized_inside():
    def f(x):
        swapped = lm.fori_loop(0, 3, lambda i, c: (c[1], c[0]), (x, lm.tanh(x)))
        either = lm.cond(lm.sum(x) > 0, lambda v: v, lambda v: v.T.T * 1.0, x)
        return (*swapped, either)
    graph = lm.trace(f, floats(3, 4))
    for a, b, c in zip(run(program_of(graph).verify(), [X]), lm.compile(graph)(X), graph.evaluate(X), strict=True):
        np.testing.assert_allclose(a, c, rtol=2e-6)
        np.testing.assert_allclose(b, c, rtol=2e-6)


@pytest.mark.parametrize("outputs, copied", [(16, True), (8, False)])
def test_a_product_does_not_scatter_its_lanes(outputs, copied):
    """A result with channels first is crossed over by a copy, where the kernel's vectors would be spread all over it."""
    windows = np.random.default_rng(0).standard_normal((outputs, 5, 3, 3)).astype("float32")
    graph = lm.trace(lambda x: lm.relu(lm.conv(x, windows, padding=1)), floats(1, 5, 7, 9))
    program = program_of(graph)
    writes = [p.strides for launch in program.steps
              for p, b in zip(launch.places, program.kernels[launch.kernel].params) if b.role == "out" and p.storage.kind == "output"]
    assert writes == [(outputs * 63, 63, 9, 1) if copied else (outputs * 63, 9, 1, 63)]
    x = np.random.default_rng(1).standard_normal((1, 5, 7, 9)).astype("float32")
    (expected,) = graph.evaluate(x)
    np.testing.assert_allclose(run(program, [x])[0], expected, atol=1e-5)
    np.testing.assert_allclose(lm.compile(graph)(x)[0], expected, atol=1e-5)


def test_a_product_without_axes_is_placed():
    graph = lm.trace(lambda x, y: lm.matmul(x, y), floats(5), floats(5))
    (y,) = lm.compile(graph)(np.arange(5, dtype="float32"), np.ones(5, "float32"))
    assert y.shape == () and y == 10
