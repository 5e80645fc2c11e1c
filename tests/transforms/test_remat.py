"""Does a step fit the memory that is allowed, by computing values again, and does it say so?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.inline_calls import inline_calls
from lamina.compiler.transforms.remat import rematerializations


def arguments(count=16, width=16, rows=256):
    rng = np.random.default_rng(0)
    return ([(rng.normal(size=(width, width)) / 4).astype(np.float32) for _ in range(count)],
            rng.normal(size=(rows, width)).astype(np.float32))


def loss(weights, x):
    for w in weights:
        x = lm.sin(lm.tanh(x @ w) + x)
    return lm.sum(x * x)


@pytest.fixture(scope="module")
def plain():
    return lm.compile(lm.grad(loss), *arguments())


@pytest.mark.parametrize("share", (0.7, 0.5))
def test_a_step_fits_its_budget(plain, share):
    weights, x = arguments()
    budget = int(plain.memory.arena_bytes * share)
    tight = lm.compile(lm.grad(loss), weights, x, options=lm.Options(max_memory=budget))
    assert tight.memory.arena_bytes <= budget
    for a, b in zip(tight(*weights, x), plain(*weights, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert "[remat] loss: done: " in tight.text("remarks") and "% more" in tight.text("remarks")


def test_what_fits_is_left_alone(plain):
    executable = lm.compile(lm.grad(loss), *arguments(), options=lm.Options(max_memory=plain.memory.arena_bytes))
    assert "[remat]" not in executable.text("remarks") and "barrier" not in executable.text("fused")


def test_a_budget_that_nothing_meets_names_the_tensors():
    with pytest.raises(lm.BudgetError, match="live at the peak"):
        lm.compile(lm.grad(loss), *arguments(), options=lm.Options(max_memory=50_000))


def test_every_choice_means_the_same_and_the_work_rises():
    weights, x = arguments(6, 5, 7)
    graph = canonicalize(inline_calls(lm.trace(lm.grad(loss), weights, x)))
    expected = graph.evaluate(*weights, x)
    choices = list(rematerializations(graph, 1 << 40))
    assert len(choices) >= 4
    for choice in choices:
        assert choice.saved < choice.before
        for a, b in zip(choice.graph.verify().evaluate(*weights, x), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert "no product" in choices[0].what
    assert [c.work for c in choices[1:]] == sorted(c.work for c in choices[1:])


def test_segments_begin_behind_products_which_are_not_computed_again():
    def plain(weights, x):
        for w in weights:
            x = lm.sin(lm.tanh(x @ w))
        return lm.sum(x * x)
    graph = canonicalize(inline_calls(lm.trace(lm.grad(plain), *arguments(12, 5, 7))))

    def products(graph):
        return [node.op.name for node in graph.nodes].count("contract")
    found = {c.what: products(c.graph) for c in rematerializations(graph, 1 << 40)}
    assert products(graph) == 35
    assert found["the first 11 of 12 parts of the forward pass are"] == 35
    assert 35 < found["the first 3 of 4 parts of the forward pass are"] <= 35 + 3 * 2


def test_light_products_are_computed_again_before_heavy_ones():
    def attend(x, w, v):
        scores = lm.exp(x @ x.T)  # few operations for each byte, and large
        return lm.sum(lm.sin(scores @ (x @ w)) @ v)
    rng = np.random.default_rng(0)
    x, w, v = (rng.normal(size=shape).astype(np.float32) / 8 for shape in ((64, 2), (2, 96), (96, 3)))
    graph = canonicalize(inline_calls(lm.trace(lm.grad(attend, (0, 1, 2)), x, w, v)))
    found = [c for c in rematerializations(graph, 1 << 40) if "products of up to" in c.what]
    assert found and all(a.work < b.work for a, b in zip(found, found[1:]))
    for a, b in zip(found[0].graph.evaluate(x, w, v), graph.evaluate(x, w, v), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cheap_choice_computes_no_product_again():
    def wide(x, w):
        return lm.sum(lm.exp(lm.sin(lm.tanh(x @ w))))
    graph = canonicalize(lm.trace(lm.grad(wide, (0, 1)), np.ones((7, 5), np.float32), np.ones((5, 64), np.float32)))
    (choice,) = (c for c in rematerializations(graph, 1 << 40) if "no product" in c.what)
    ops = [node.op.name for node in choice.graph.nodes]
    assert ops.count("contract") == 3 and "barrier" in ops
    assert choice.saved == 7 * 64 * 4 < choice.before  # one value of the chain behind the product
