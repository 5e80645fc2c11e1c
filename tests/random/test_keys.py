"""Do keys give Threefry's numbers, and one key many that have nothing in common, at once and compiled alike?"""

import importlib

import numpy as np
import pytest

import lamina as lm
from lamina.frontends.random import keys

from ..ops.oracles import threefry2x32

random = lm.random


def test_bits_are_threefry_of_the_position():
    key = random.key(0x0123456789ABCDEF)
    assert key.dtype == np.uint32 and key.tolist() == [0x01234567, 0x89ABCDEF]
    expected = [threefry2x32((0, i), (0x01234567, 0x89ABCDEF))[0] for i in range(15)]
    assert random.bits(key, (3, 5)).ravel().tolist() == expected
    assert random.split(key, 7).ravel().tolist() == expected[:14]
    assert random.split(key, (2, 3)).tolist() == random.split(key, 6).reshape(2, 3, 2).tolist()
    assert random.bits(key).shape == () and random.bits(key, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_every_bit_of_every_width_is_fair(dtype):
    drawn = random.bits(random.key(5), (4096,), dtype)
    assert drawn.dtype == dtype
    ones = np.unpackbits(drawn.view(np.uint8).reshape(4096, -1), axis=1).mean(axis=0)
    assert abs(ones - 0.5).max() < 5 * 0.5 / 64  # five standard deviations
    compiled = lm.jit(lambda key: random.bits(key, (4096,), dtype))(random.key(5))
    np.testing.assert_array_equal(compiled, drawn)


def test_seeds_are_integers_of_64_bits():
    assert random.key(-1).tolist() == [0xFFFFFFFF, 0xFFFFFFFF]
    assert random.key(np.int64(7)).tolist() == random.key(np.array(7)).tolist() == random.PRNGKey(7).tolist() == [0, 7]
    traced = lm.jit(random.key)
    for seed in (np.int64(-2), np.int32(-2), np.uint32(9), np.int64(1 << 40), np.uint64((1 << 64) - 5)):
        np.testing.assert_array_equal(traced(seed), random.key(seed))
    for wrong in (1.5, "a", 1 << 64):
        with pytest.raises(lm.DTypeError):
            random.key(wrong)
    with pytest.raises(lm.DTypeError, match="an integer scalar was expected"):
        lm.trace(random.key, np.zeros(2, np.int32))


def test_what_is_no_key_is_refused():
    for wrong in (3, np.zeros(2, np.int64), np.zeros((4, 2), np.uint32), [0.0, 1.0]):
        with pytest.raises(lm.ShapeError, match=r"a key is uint32\[2\]"):
            random.normal(wrong, (3,))


def test_keys_of_one_key_differ():
    key = random.key(1)
    found = [key, *random.split(key, 100), *(random.fold_in(key, i) for i in (*range(100), -1, 1 << 40)),
             *random.split(random.split(key)[0]), random.fold_in(random.fold_in(key, 0), 1)]
    assert len({tuple(k.tolist()) for k in found}) == len(found)


def test_folding_in_is_the_same_traced():
    key = random.key(3)
    folded = lm.jit(random.fold_in)
    for data in (0, 5, -1):
        np.testing.assert_array_equal(folded(key, np.int32(data)), random.fold_in(key, data))
    def body(carry, step):
        return carry, random.uniform(random.fold_in(carry, step), (3,))
    _, rows = lm.jit(lambda key: lm.scan(body, key, lm.arange(4)))(key)
    np.testing.assert_array_equal(rows, [random.uniform(random.fold_in(key, i), (3,)) for i in range(4)])


@pytest.mark.parametrize("draw", [
    random.split, lambda key: random.fold_in(key, 3), lambda key: random.bits(key, (2, 2), "uint64"),
    lambda key: random.normal(key, (3,)), lambda key: random.permutation(key, 6),
    lambda key: random.gamma(key, 2.0, (4,)), lambda key: random.randint(key, (3,), 0, 9),
    lambda key: random.choice(key, 5, (2,), replace=False)])
def test_many_keys_draw_what_each_does(draw):
    many = random.split(random.key(0), 5)
    expected = np.stack([lm.jit(draw)(key) for key in many])
    np.testing.assert_allclose(lm.jit(lm.vmap(draw))(many), expected, rtol=1e-5)


def test_many_elements_outside_of_traces_are_the_same_numbers(monkeypatch):
    key, count = random.key(4), keys.COMPILED
    many = random.bits(key, (count // 64, 64))
    monkeypatch.setattr(keys, "COMPILED", count + 1)
    np.testing.assert_array_equal(many, random.bits(key, (count // 64, 64)))


def test_bits_are_the_same_for_every_number_of_threads():
    executable = lm.compile(lambda key: random.uniform(key, (100003,)), random.key(0))
    alone, = executable(random.key(9), threads=1)
    np.testing.assert_array_equal(executable(random.key(9), threads=2)[0], alone)
    np.testing.assert_array_equal(random.uniform(random.key(9), (100003,)), alone)


def test_the_module_is_found_in_both_ways():
    assert importlib.import_module("lamina").random is random and set(random.__all__) <= set(dir(random))
