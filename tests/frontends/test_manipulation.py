"""Do functions that rearrange elements agree with NumPy, at once and traced?"""

import numpy as np
import pytest

import lamina.compiler.core.errors as errors
from lamina.frontends import array as lm

RNG = np.random.default_rng(1)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = draw(3, 5, 7)
CASES = {
    "reshape": (lambda n, x: n.reshape(x, (5, 21))), "reshape_left_over": (lambda n, x: n.reshape(x, (-1, 7))),
    "ravel": (lambda n, x: n.ravel(x)), "transpose": (lambda n, x: n.transpose(x)),
    "transpose_axes": (lambda n, x: n.transpose(x, (1, 0, 2))), "swapaxes": (lambda n, x: n.swapaxes(x, 0, -1)),
    "moveaxis": (lambda n, x: n.moveaxis(x, 0, -1)), "moveaxis_two": (lambda n, x: n.moveaxis(x, (0, 1), (2, 0))),
    "expand_dims": (lambda n, x: n.expand_dims(x, 1)), "expand_dims_two": (lambda n, x: n.expand_dims(x, (0, -1))),
    "squeeze": (lambda n, x: n.squeeze(x[:1])), "squeeze_axis": (lambda n, x: n.squeeze(x[:, :1], 1)),
    "broadcast_to": (lambda n, x: n.broadcast_to(x, (2, 3, 5, 7))), "flip": (lambda n, x: n.flip(x)),
    "flip_axis": (lambda n, x: n.flip(x, axis=1)), "flip_axes": (lambda n, x: n.flip(x, axis=(0, -1))),
    "roll": (lambda n, x: n.roll(x, 2)), "roll_axis": (lambda n, x: n.roll(x, -3, axis=1)),
    "roll_axes": (lambda n, x: n.roll(x, (1, 12), axis=(0, 2))), "roll_around": (lambda n, x: n.roll(x, 9, axis=0)),
    "concatenate": (lambda n, x: n.concatenate([x, x[:, :2], x], axis=1)),
    "concatenate_flat": (lambda n, x: n.concatenate([x, x[:1]], axis=None)),
    "concat": (lambda n, x: n.concat([x, x], axis=-1)), "stack": (lambda n, x: n.stack([x, x], axis=1)),
    "stack_last": (lambda n, x: n.stack([x, x, x], axis=-1)), "vstack": (lambda n, x: n.vstack([x[0, 0], x[1, 2]])),
    "hstack": (lambda n, x: n.hstack([x, x])), "hstack_vectors": (lambda n, x: n.hstack([x[0, 0], x[0, 1]])),
    "column_stack": (lambda n, x: n.column_stack([x[0, :, 0], x[0]])), "split": (lambda n, x: n.split(x, 5, axis=1)),
    "split_at": (lambda n, x: n.split(x, [1, 4], axis=2)), "split_beyond": (lambda n, x: n.split(x, [2, 9], axis=1)),
    "array_split": (lambda n, x: n.array_split(x, 3, axis=2)), "unstack": (lambda n, x: n.unstack(x, axis=1)),
    "repeat": (lambda n, x: n.repeat(x, 3, axis=1)), "repeat_flat": (lambda n, x: n.repeat(x, 2)),
    "repeat_each": (lambda n, x: n.repeat(x, [2, 0, 1], axis=0)), "tile": (lambda n, x: n.tile(x, 2)),
    "tile_axes": (lambda n, x: n.tile(x, (2, 1, 3))), "tile_more": (lambda n, x: n.tile(x, (2, 1, 1, 2))),
    "pad": (lambda n, x: n.pad(x, 1)), "pad_sides": (lambda n, x: n.pad(x, (1, 2))),
    "pad_axes": (lambda n, x: n.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=7)),
    "pad_edge": (lambda n, x: n.pad(x, ((2, 1), (0, 0), (3, 9)), mode="edge")),
    "pad_reflect": (lambda n, x: n.pad(x, ((2, 1), (4, 0), (3, 6)), mode="reflect")),
    "pad_reflect_far": (lambda n, x: n.pad(x, ((5, 7), (0, 0), (0, 0)), mode="reflect")),
    "pad_symmetric": (lambda n, x: n.pad(x, ((3, 1), (0, 5), (9, 0)), mode="symmetric")),
    "pad_wrap": (lambda n, x: n.pad(x, ((3, 1), (0, 5), (9, 0)), mode="wrap")),
    "append": (lambda n, x: n.append(x, x, axis=0)), "atleast_1d": (lambda n, x: n.atleast_1d(x)),
    "atleast_2d": (lambda n, x: n.atleast_2d(x[0, 0])), "permute_dims": (lambda n, x: n.permute_dims(x, (2, 0, 1))),
}


@pytest.mark.parametrize("name", CASES)
def test_rearranging_functions_agree_with_numpy(name, agree):
    function = CASES[name]
    agree(lambda x: function(lm, x), function(np, X), X)
    agree(lambda x: function(lm, x), function(np, X.astype(np.int16)), X.astype(np.int16))


@pytest.mark.parametrize("shape", [(0,), (1,), (13,), (0, 3), (1, 1)])
def test_odd_shapes(shape, agree):
    x = draw(*shape)
    for function in (lambda n, x: n.flip(x), lambda n, x: n.roll(x, 1, axis=0), lambda n,
                     x: n.concatenate([x, x], axis=0),
                     lambda n, x: n.tile(x, 2), lambda n, x: n.stack([x, x]), lambda n, x: n.pad(x, 2), lambda n,
                     x: n.ravel(x)):
        agree(lambda x: function(lm, x), function(np, x), x)


def test_joining_promotes(agree):
    x, y = np.arange(3, dtype=np.int32), np.ones(2, np.float32)
    agree(lambda x, y: lm.concat([x, y]), np.array([0, 1, 2, 1, 1], np.float32), x, y)
    agree(lambda x: lm.stack([x, lm.multiply(0.5, x)]), np.stack([x, 0.5 * x]).astype(np.float32), x)


def test_pad_with_an_array_as_value(agree):
    x, value = draw(2, 3), np.float32(4).reshape(())
    agree(lambda x, v: lm.pad(x, ((1, 0), (0, 2)), constant_values=v), np.pad(x, ((1, 0), (0, 2)), constant_values=4),
          x, value)


def test_pad_by_axis_number(agree):
    agree(lambda x: lm.pad(x, {-1: (1, 2)}), np.pad(X, ((0, 0), (0, 0), (1, 2))), X)


def test_roll_by_a_traced_shift(agree):
    for shift in (0, 2, -3, 11):
        agree(lambda x, s: lm.roll(x, s, axis=1), np.roll(X, shift, axis=1), X, np.array(shift))


def test_broadcasting_gives_read_only_views_of_arrays_at_once():
    x = draw(5)
    wide = lm.broadcast_to(x, (3, 5))
    assert wide.strides[0] == 0 and not wide.flags.writeable
    assert lm.broadcast_shapes((3, 1), (5,)) == (3, 5)


@pytest.mark.parametrize("function, message", [
    (lambda x: lm.reshape(x, (4, 4)), r"\[3, 5, 7\] can't be reshaped to \[4, 4\]: 105 elements, not 16"),
    (lambda x: lm.reshape(x, (-1, 4)), "the -1 has no whole extent"),
    (lambda x: lm.reshape(x, (-1, -1)), "only one axis can be -1"),
    (lambda x: lm.squeeze(x, 1), "its extent is not 1"),
    (lambda x: lm.transpose(x, (0, 0, 1)), "are no order of the 3 axes"),
    (lambda x: lm.moveaxis(x, (0, 0), (1, 2)), "can't move"),
    (lambda x: lm.flip(x, 3), "axis 3 is out of range for rank 3"),
    (lambda x: lm.stack([x, x[0]]), "different shapes"),
    (lambda x: lm.concat([]), "lm.concat of no arrays"),
    (lambda x: lm.split(x, 2), "does not split into 2 equal parts"),
    (lambda x: lm.pad(x, ((1, 1),) * 2), "does not fit rank 3"),
    (lambda x: lm.pad(x, 1, "median"), "no mode 'median'"),
    (lambda x: lm.broadcast_to(x, (3, 5, 8)), "meets 8"),
])
def test_what_does_not_fit_is_named(function, message):
    with pytest.raises(errors.ShapeError, match=message) as caught:
        function(X)
    assert "test_manipulation.py" in str(caught.value)
