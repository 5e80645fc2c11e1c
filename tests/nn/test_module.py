"""Is a module a tree of its parameters that never changes, and does it say what is wrong with its attributes?"""

from __future__ import annotations

import numpy as np
import pytest

import lamina as lm
from lamina import nn

KEY = lm.random.key(0)


class Perceptron(nn.Module):
    def __init__(self, width, depth, *, key):
        keys = lm.random.split(key, depth)
        self.layers = [nn.Linear(width, width, key=k) for k in keys]
        self.scale = lm.ones(())
        self.activation, self.sizes, self.name = lm.tanh, (width, depth), "perceptron"

    def __call__(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return x * self.scale


class Pair(nn.Module):
    """A module whose annotations are its arguments."""

    left: nn.Linear
    right: nn.Linear
    weight: float = 0.5

    def __call__(self, x):
        return self.left(x) * self.weight + self.right(x) * (1 - self.weight)


def perceptron():
    return Perceptron(3, 2, key=KEY)


def test_a_module_is_a_tree_of_its_arrays_with_names():
    model = perceptron()
    leaves, structure = lm.tree.flatten(model)
    assert lm.tree.paths(structure) == [".layers[0].weight", ".layers[0].bias", ".layers[1].weight", ".layers[1].bias",
                                        ".scale"]
    assert list(nn.parameters(model)) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
                                          "scale"]
    again = lm.tree.unflatten(structure, leaves)
    assert isinstance(again, Perceptron) and again.sizes == (3, 2) and again.activation is lm.tanh
    assert all(a is b for a, b in zip(lm.tree.leaves(again), leaves)) and lm.tree.structure(again) == structure
    doubled = lm.tree.map(lambda a: a * 2, model)
    assert (doubled.layers[1].bias == model.layers[1].bias * 2).all() and doubled.scale == 2


def test_static_attributes_are_part_of_the_structure():
    model = perceptron()
    assert lm.tree.structure(model) == lm.tree.structure(perceptron())
    assert lm.tree.structure(model.replace(activation=lm.relu)) != lm.tree.structure(model)
    f = lm.jit(lambda model, x: model(x))
    x = np.ones((1, 3), np.float32)
    f(model, x), f(lm.tree.map(lambda a: a + 1, model), x)
    assert f.cache_size() == 1
    f(model.replace(activation=lm.relu), x)
    assert f.cache_size() == 2 and "structure" in f.explain_retraces()[1]


def test_leaves_may_become_anything_and_the_structure_stays():
    model = perceptron()
    structure = lm.tree.structure(model)
    numbers = lm.tree.map(lambda a: 1, model)
    assert numbers.layers[0].weight == 1 and lm.tree.structure(numbers) == structure
    specs = lm.tree.map(lambda a: lm.TensorSpec(a.shape, a.dtype), model)
    graph = lm.trace(lambda model, x: model(x), specs, lm.TensorSpec(("batch", 3)))
    assert [p.name for p in graph.params] == ["model.layers.0.weight", "model.layers.0.bias", "model.layers.1.weight",
                                              "model.layers.1.bias", "model.scale", "x"]


def test_annotated_attributes_are_arguments():
    first, second = lm.random.split(KEY)
    pair = Pair(nn.Linear(3, 2, key=first), right=nn.Linear(3, 2, key=second))
    assert list(nn.parameters(pair)) == ["left.weight", "left.bias", "right.weight", "right.bias"]
    x = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(pair(x), (pair.left(x) + pair.right(x)) / 2, rtol=1e-6)
    assert Pair(pair.left, pair.right, weight=1.0)(x).tolist() == pair.left(x).tolist()


def test_a_module_never_changes():
    model = perceptron()
    with pytest.raises(lm.TraceError, match=r"(?s)can't be changed: 'scale'.*module.replace\(scale=\.\.\.\)"):
        model.scale = 3.0
    with pytest.raises(lm.TraceError, match="can't be changed: 'scale' is deleted"):
        del model.scale
    other = model.replace(scale=lm.full((), 3.0))
    assert other.scale == 3 and model.scale == 1 and other.layers is model.layers
    with pytest.raises(lm.TraceError, match=r"(?s)no attribute 'bias'.*layers, scale"):
        model.replace(bias=None)


def attribute(value):
    class Holder(nn.Module):
        def __init__(self):
            self.value = value
    return Holder()


def test_what_is_a_parameter_follows_from_the_value():
    array = np.zeros(2, np.float32)
    for child in (array, [array, array], {"a": array}, (array, None), nn.Identity(), [], [nn.Identity()]):
        assert vars(attribute(child))["_fields"].children == ("value",), child
    for static in (1, 2.5, "s", None, (1, 2), lm.relu, np.float32(2), ()):
        assert vars(attribute(static))["_fields"].static == ("value",), static
    with pytest.raises(lm.TraceError, match=r"Holder.value is a list without arrays.*\[1, 2\]"):
        attribute([1, 2])
    with pytest.raises(lm.TraceError, match="Holder.value mixes arrays with function"):
        attribute([nn.Identity(), lm.relu])
    with pytest.raises(lm.TraceError, match="Holder.value mixes arrays with int 3"):
        attribute({"w": array, "n": 3})


def test_a_module_goes_through_jit_compile_trace_and_build(tmp_path):
    model, x = perceptron(), np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    expected = model(x)
    def close(y):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    close(lm.jit(model)(x))
    close(lm.jit(lambda m, x: m(x))(model, x))
    spec = lm.TensorSpec(("batch", 3))
    close(lm.trace(model, spec).evaluate(x)[0])
    close(lm.compile(model, spec)(x)[0])
    close(lm.load(lm.build(model, tmp_path / "model.lam", spec))(x)[0])


def test_gradients_are_models():
    model, x = perceptron(), np.ones((4, 3), np.float32)
    def loss(model, x):
        return lm.sum(lm.square(model(x)))
    gradient = lm.jit(lm.grad(loss))(model, x)
    assert lm.tree.structure(gradient) == lm.tree.structure(model)
    epsilon = 1e-3
    up, down = (loss(model.replace(scale=lm.full((), 1 + e)), x) for e in (epsilon, -epsilon))
    assert gradient.scale == pytest.approx((up - down) / (2 * epsilon), rel=1e-3)


def test_a_module_may_be_made_in_a_traced_function():
    made = lm.jit(lambda key: Perceptron(3, 2, key=key))(KEY)
    assert isinstance(made, Perceptron)
    lm.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), made, perceptron())


def test_the_text_of_a_module_shows_its_parts():
    assert repr(perceptron()) == """Perceptron(
  activation=tanh
  sizes=(3, 2)
  name='perceptron'
  layers: [
    0: Linear(in_features=3, out_features=3, weight: float32[3, 3], bias: float32[3])
    1: Linear(in_features=3, out_features=3, weight: float32[3, 3], bias: float32[3])
  ]
  scale: float32[]
)"""
    model = lm.tree.map(lambda a: None, perceptron())
    assert "Linear(in_features=3, out_features=3)" in repr(model)


def test_a_class_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Holder has no __call__"):
        attribute(1)(np.zeros(3))
