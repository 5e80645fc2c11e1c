"""Does RandomBits give the published Threefry numbers, and the same ones however it is cut up?"""

import numpy as np
import pytest

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import uint32
from lamina.compiler.core.types import TensorType
from lamina.compiler.kernel import builder as k
from lamina.compiler.kernel.interpret import evaluate_expr
from lamina.compiler.kernel.ir import Buffer, Var
from lamina.compiler.ops import RandomBits
from lamina.compiler.ops.random import threefry

from .oracles import threefry2x32

#: counter, key, result: threefry2x32 with 20 rounds in the known-answer file of Random123, the authors' library.
KNOWN = [((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
         ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
         ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0))]


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers(counter, key, expected):
    with np.errstate(over="ignore"):
        words = threefry(tuple(np.array([w], np.uint32) for w in key), tuple(np.array([w], np.uint32) for w in counter))
    assert tuple(int(w[0]) for w in words) == expected
    assert threefry2x32(counter, key) == expected


@pytest.mark.parametrize("linear", [0, 7, (1 << 32) - 1, 1 << 32, (5 << 32) + 123, (1 << 40) + 1])
def test_elements_count_beyond_32_bits(linear):
    n = symbol("n", upper=1 << 42)
    op, key = RandomBits((n,)), np.array([3, 4], np.uint32)
    buffer = Buffer("key", uint32, (2,), role="in")
    i = Var("i")
    e = op.element([lambda index: k.load(buffer, index)], (i,), (TensorType((2,), uint32),), TensorType((n,), uint32))
    assert evaluate_expr(e, {"i": linear, "key": key}) == threefry2x32((linear >> 32, linear & 0xFFFFFFFF), (3, 4))[0]


def test_bits_depend_on_the_position_alone():
    key = np.array([11, 12], np.uint32)
    (flat,) = RandomBits((60,)).evaluate(key)
    np.testing.assert_array_equal(RandomBits((3, 4, 5)).evaluate(key)[0].ravel(), flat)
    np.testing.assert_array_equal(RandomBits((7,)).evaluate(key)[0], flat[:7])


def test_bits_look_uniform():
    (bits,) = RandomBits((1 << 16,)).evaluate(np.array([1, 2], np.uint32))
    counts = np.bincount(bits >> 24, minlength=256)
    assert ((counts - 256.0) ** 2 / 256).sum() < 350  # chi-square with 255 degrees of freedom: 350 has p = 7e-5
    ones = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.002
    assert len(np.unique(bits)) > 65000
