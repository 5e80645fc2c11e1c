"""Do contractions of any spec mean what einsum means, and do their letters fall into the right groups?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.compiler.ops import Contract

from .samples import types_of


@pytest.mark.parametrize("spec, batch, rows, columns, summed, alone", [
    ("ij,jk->ik", "", "i", "k", "j", ""), ("bhqd,bhkd->bhqk", "bh", "q", "k", "d", ""),
    ("bqhd,bkhd->hbqk", "hb", "q", "k", "d", ""), ("i,j->ji", "", "i", "j", "", ""), ("ij,ij->", "", "", "", "ij", ""),
    ("ij,ij->ji", "ji", "", "", "", ""),
    ("ija,jkb->ki", "", "i", "k", "j", "ab"), ("abcd,dcef->aebf", "", "ab", "ef", "cd", "")])
def test_letters_fall_into_groups(spec, batch, rows, columns, summed, alone):
    op = Contract(spec)
    groups = (op.batch, op.rows, op.columns, op.summed, op.summed_alone)
    assert groups == tuple(map(tuple, (batch, rows, columns, summed, alone)))


@st.composite
def contractions(draw):
    """A spec and integer operands that fit it."""
    letters = "abcdef"
    lhs = draw(st.lists(st.sampled_from(letters), unique=True, max_size=4))
    rhs = draw(st.lists(st.sampled_from(letters), unique=True, max_size=4))
    result = draw(st.lists(st.sampled_from(sorted({*lhs, *rhs})), unique=True)) if lhs or rhs else []
    extents = {c: draw(st.sampled_from([0, 1, 2, 3, 5])) for c in letters}
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = [rng.integers(-9, 9, [extents[c] for c in side]).astype(np.int32) for side in (lhs, rhs)]
    return f"{''.join(lhs)},{''.join(rhs)}->{''.join(result)}", *arrays


@given(contractions())
@settings(deadline=None, max_examples=150)
def test_random_specs_agree_with_einsum(case):
    spec, x, y = case
    op = Contract(spec)
    np.testing.assert_array_equal(op.evaluate(x, y)[0], np.einsum(spec, x, y))
    np.testing.assert_allclose(op.evaluate(x.astype(np.float32), y.astype(np.float32))[0], np.einsum(spec, x, y))
    assert op.infer(*types_of((x, y)))[0].shape == np.einsum(spec, x, y).shape


def test_integers_wrap_and_keep_their_dtype():
    x = np.full((1, 3), 100, np.int8)
    (got,) = Contract("ij,kj->ik").evaluate(x, x)
    assert got.dtype == np.int8 and got[0, 0] == (30000 + 128) % 256 - 128


def test_half_precision_accumulates_in_float32():
    x, y = np.full((1, 4096), 1.0, np.float16), np.full((4096, 1), 1.0, np.float16)
    assert Contract("ij,jk->ik").evaluate(x, y)[0][0, 0] == 4096  # a float16 sum would stop at 2048


def test_flops_are_two_for_each_product():
    x, y = np.zeros((2, 3, 5), np.float32), np.zeros((2, 5, 7), np.float32)
    assert Contract("zij,zjk->zik").flops(*types_of((x, y))) == 2 * 2 * 3 * 5 * 7
