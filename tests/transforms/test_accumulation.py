"""Do gradients of a batch in parts add up to that of the whole batch?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.graph.graph import walk

RNG = np.random.default_rng(3)
WRAPS = [lambda f: f, lm.jit]


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def loss(w, x, y):
    return lm.mean((lm.tanh(x @ w["a"]) @ w["b"] - y) ** 2)


def example(batch=12):
    return {"a": draw(5, 7), "b": draw(7)}, draw(batch, 5), draw(batch)


def same(got, expected, rtol=2e-5):
    lm.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=rtol, atol=1e-6), got, expected)


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("steps", [1, 3, 4, 12])
def test_parts_give_what_the_whole_gives(steps, wrap):
    w, x, y = example()
    whole = lm.value_and_grad(loss)
    same(wrap(lm.accumulate_gradients(whole, steps))(w, x, y), whole(w, x, y))


@pytest.mark.parametrize("wrap", WRAPS)
def test_aux_and_chosen_batches(wrap):
    def f(x, w, scale):
        value = lm.mean(x @ w) * scale
        return value, {"mean": lm.mean(x, axis=0)}
    x, w = draw(6, 3), draw(3)
    whole = lm.value_and_grad(f, argnums=1, has_aux=True)
    same(wrap(lm.accumulate_gradients(whole, 2, batch_argnums=0))(x, w, 2.0), whole(x, w, 2.0))


def test_there_is_one_loop_over_the_parts():
    w, x, y = example()
    graph = lm.trace(lm.accumulate_gradients(lm.value_and_grad(loss), 4), w, x, y)
    (scan,) = [n for n in graph.nodes if type(n.op).__name__ == "Scan"]
    assert {n.result_types[0].shape[:1] for n in walk(scan.op.body) if type(n.op).__name__ == "Tanh"} == {(3,)}
    assert not [n for n in graph.nodes if type(n.op).__name__ == "Contract"]


def test_memory_is_that_of_a_part():
    def deep(w, x):
        for _ in range(4):
            x = lm.tanh(x @ w)
        return lm.mean(x * x)
    gradient = lm.value_and_grad(deep)
    types = lm.TensorSpec((16, 16)), lm.TensorSpec((512, 16))
    whole = lm.compile(gradient, *types).memory.arena_bytes
    parts = lm.compile(lm.accumulate_gradients(gradient, 16), *types).memory.arena_bytes
    assert parts < whole / 8


def test_with_mixed_precision_sums_are_of_float32():
    w, x, y = example()
    gradient = lm.grad(lm.mixed_precision(loss))
    same(lm.jit(lm.accumulate_gradients(gradient, 3))(w, x, y), lm.grad(loss)(w, x, y), rtol=0.1)
    half = {k: v.astype(lm.bfloat16.numpy) for k, v in w.items()}
    graph = lm.trace(lm.accumulate_gradients(lm.grad(loss), 3), half, x.astype(lm.bfloat16.numpy), y)
    (scan,) = [n for n in graph.nodes if type(n.op).__name__ == "Scan"]
    assert {t.dtype.name for t in scan.result_types[:2]} == {"float32"}
    assert {r.dtype.name for r in graph.results} == {"bfloat16"}


def test_symbolic_batches():
    w = {"a": lm.TensorSpec((5, 7)), "b": lm.TensorSpec((7,))}
    executable = lm.compile(lm.accumulate_gradients(lm.value_and_grad(loss), 4), w, lm.TensorSpec(("n=4..64%4", 5)),
                            lm.TensorSpec(("n",)))
    for batch in (4, 12):
        w, x, y = example(batch)
        value, gradients = lm.value_and_grad(loss)(w, x, y)
        same(executable(w["a"], w["b"], x, y), (value, gradients["a"], gradients["b"]))


def error(kind, f, *args) -> str:
    with pytest.raises(kind) as caught:
        f(*args)
    return str(caught.value)


def test_what_does_not_split_is_named():
    w, x, y = example(10)
    gradient = lm.grad(loss)
    assert "can't split x, a batch of 10, into 4 equal parts" in error(
        lm.ShapeError, lm.accumulate_gradients(gradient, 4), w, x, y)
    assert "splits y, which is a scalar" in error(lm.ShapeError, lm.accumulate_gradients(gradient, 2), w, x, 1.0)
    assert "no argument that is a batch" in error(lm.TraceError, lm.accumulate_gradients(gradient, 2), w)
    assert "names argument 3" in error(lm.TraceError, lm.accumulate_gradients(gradient, 2, 3), w, x, y)
    assert "1 step or more, not 0" in error(lm.TraceError, lm.accumulate_gradients, gradient, 0)


def test_results_that_have_no_mean_are_named():
    def f(w, x):
        return lm.mean(x @ w), {"count": lm.argmax(x)}
    message = error(lm.DTypeError, lm.accumulate_gradients(lm.value_and_grad(f, has_aux=True), 2), draw(3), draw(4, 3))
    assert "takes means, and the result[0][1]['count'] is i64" in message
