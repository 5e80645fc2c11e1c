"""Does the difference of two graphs begin where it begins?"""

import numpy as np
import pytest

import lamina as lm
from lamina.frontends.report.difference import compare_graphs


def difference(f, g, *shapes):
    specs = [lm.TensorSpec(shape) for shape in shapes or ((4, 4),)]
    return compare_graphs(lm.trace(f, *specs), lm.trace(g, *specs))


def test_equal_graphs_are_the_same_whatever_their_lines():
    def f(x):
        return lm.tanh(x @ x)

    def g(y):
        z = y @ y
        return lm.tanh(z)
    found = difference(f, g)
    assert found.is_same and found.removed == found.added == () and found.ops == {}


def test_only_where_it_begins():
    found = difference(lambda x: lm.exp(lm.tanh(lm.sin(x))), lambda x: lm.exp(lm.tanh(lm.cos(x))))
    assert [n.op.name for n in found.removed] == ["sin"] and [n.op.name for n in found.added] == ["cos"]
    assert found.ops == {"sin": (1, 0), "cos": (0, 1)} and not found.is_same


def test_an_inserted_operator():
    found = difference(lambda x: lm.tanh(x @ x) + 1, lambda x: lm.tanh(x @ x) * 2 + 1)
    assert [n.op.name for n in found.removed] == ["add"] and [n.op.name for n in found.added] == ["mul"]


def test_another_number():
    found = difference(lambda x: x * 2, lambda x: x * 3)
    assert [n.op.name for n in found.removed] == ["mul"] and found.ops == {}
    a, b = np.zeros(3, np.float32), np.ones(3, np.float32)
    found = compare_graphs(lm.trace(lambda: lm.exp(a)), lm.trace(lambda: lm.exp(b)))
    assert [n.op.name for n in found.removed] == ["constant"]


@pytest.mark.parametrize("f, g", [(lambda x, y: (x, y), lambda x, y: (y, x)), (lambda x, y: x - y, lambda x, y: y - x),
                                  (lambda x, y: (lm.sin(x), lm.cos(x)), lambda x, y: (lm.cos(x), lm.sin(x)))])
def test_order_matters(f, g):
    assert not difference(f, g, (4,), (4,)).is_same


def test_results_of_one_node_are_told_apart():
    assert not difference(lambda x: lm.topk(x, 2)[0], lambda x: lm.topk(x, 2)[1]).is_same
