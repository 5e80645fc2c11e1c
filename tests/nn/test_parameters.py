"""Are parameters named, counted, taken apart, saved and loaded, and is what does not fit named?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

KEY = lm.random.key(2)
RNG = np.random.default_rng(2)


def small():
    keys = lm.random.split(KEY, 3)
    return nn.Sequential(nn.Conv2d(1, 2, 3, key=keys[0]), nn.BatchNorm2d(2), lm.relu, nn.Flatten(),
                         nn.Linear(8, 3, key=keys[1]))


def same(a, b):
    assert lm.tree.structure(a) == lm.tree.structure(b)
    for x, y in zip(lm.tree.leaves(a), lm.tree.leaves(b)):
        assert x.dtype == y.dtype and np.array_equal(x, y)


def test_names_counts_and_the_table():
    model = small()
    assert list(nn.parameters(model)) == ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    assert list(nn.buffers(model)) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert set(nn.state_dict(model)) == set(nn.parameters(model)) | set(nn.buffers(model))
    assert nn.count_parameters(model) == 18 + 2 + 2 + 2 + 24 + 3
    lines = nn.summary(model).splitlines()
    assert lines[0].split() == ["0.weight", "float32[2,", "1,", "3,", "3]"]
    assert "buffer" in lines[4] and lines[-1] == "51 parameters"
    specs = lm.tree.map(lambda a: lm.TensorSpec(a.shape, a.dtype), model)
    assert nn.count_parameters(specs) == 51 and nn.summary(specs) == nn.summary(model)


def test_lists_and_dicts_of_modules_are_models():
    models = {"a": nn.Linear(2, 3, key=KEY), "b": [nn.LayerNorm(2), np.ones(4, np.float32)], "n": np.arange(3)}
    assert list(nn.parameters(models)) == ["a.weight", "a.bias", "b.0.weight", "b.0.bias", "b.1"]
    assert list(nn.buffers(models)) == ["n"]


def test_parts_make_the_whole():
    model = small()
    trained, rest = nn.partition(model)
    assert [a is None for a in (trained[1].running_mean, trained[0].weight, rest[0].weight)] == [True, False, True]
    assert len(lm.tree.leaves(trained)) == 6 and len(lm.tree.leaves(rest)) == 3
    same(nn.combine(trained, rest), model)
    same(nn.combine(rest, trained), model)
    head, frozen = nn.partition(model, lambda name: name.startswith("4."))
    assert list(nn.parameters(head)) == ["4.weight", "4.bias"] and len(lm.tree.leaves(frozen)) == 7
    same(nn.combine(head, frozen), model)


def test_frozen_parameters_do_not_move():
    model, x = small(), RNG.standard_normal((5, 1, 4, 4)).astype(np.float32)
    head, frozen = nn.partition(model, lambda name: name.startswith("4."))
    gradient = lm.grad(lambda head: lm.sum(lm.square(nn.combine(head, frozen)(x))))(head)
    assert list(nn.parameters(gradient)) == ["4.weight", "4.bias"] and (gradient[4].weight != 0).any()
    moved = nn.combine(lm.tree.map(lambda p, g: p - 0.1 * g, head, gradient), frozen)
    assert (moved[4].weight != model[4].weight).any() and moved[0].weight is model[0].weight


def test_what_is_saved_is_loaded(tmp_path):
    model = lm.tree.map(lambda a: a + np.asarray(1, a.dtype), small())
    nn.save(model, tmp_path / "model.safetensors")
    same(nn.load(small(), tmp_path / "model.safetensors"), model)
    loaded = nn.load(small(), tmp_path / "model.safetensors")
    assert all(leaf.flags.writeable and leaf.flags.aligned for leaf in lm.tree.leaves(loaded))


def test_other_programs_read_what_is_saved(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    half = lm.tree.map(lambda a: a.astype(np.float16) if a.dtype.kind == "f" else a, small())
    nn.save({"odd": np.ones(3, np.int8), "model": half}, tmp_path / "model.safetensors")
    found = safetensors.load_file(tmp_path / "model.safetensors")
    assert set(found) == {"odd", *(f"model.{name}" for name in nn.state_dict(half))}
    assert all(np.array_equal(found[f"model.{name}"], value) for name, value in nn.state_dict(half).items())


def test_a_damaged_file_changes_nothing(tmp_path):
    path = tmp_path / "model.safetensors"
    nn.save(small(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(lm.FormatError, match="cut short"):
        nn.load(small(), path)
    with pytest.raises(lm.LaminaError, match="can't read"):
        nn.load(small(), tmp_path / "none.safetensors")


def test_arrays_that_do_not_fit_are_listed():
    model = nn.Linear(2, 3, key=KEY)
    with pytest.raises(lm.LaminaError) as caught:
        nn.load_state_dict(model, {"weight": np.zeros((3, 3)), "scale": np.zeros(3)})
    message = str(caught.value)
    assert "bias is missing" in message and "scale is no part of the model" in message
    assert "weight has shape [3, 3], the model's [3, 2]" in message
    loaded = nn.load_state_dict(model, {"bias": [1, 2, 3], "scale": 1}, strict=False)
    assert loaded.bias.tolist() == [1, 2, 3] and loaded.bias.dtype == np.float32 and loaded.weight is model.weight
