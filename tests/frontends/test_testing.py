"""Do the assertions on kernels hold where they should, fail where they should, and say why there are so many?"""

import re

import numpy as np
import pytest

import lamina as lm


@pytest.fixture(scope="module")
def executable():
    def model(x, w):
        return lm.tanh(x @ w + 1) @ w
    return lm.compile(model, lm.TensorSpec((8, 8)), lm.TensorSpec((8, 8)))


def test_what_holds_passes(executable):
    lm.testing.assert_fused(executable, "contract", "add", "tanh")
    lm.testing.assert_fused(executable, "tanh")
    lm.testing.assert_kernels(executable, at_most=2, at_least=2, exactly=2)
    lm.testing.assert_fused(lm.compile(lambda x: lm.softmax(x), lm.TensorSpec((3, 5))))


def test_too_many_kernels_are_listed_with_reasons(executable):
    with pytest.raises(AssertionError) as caught:
        lm.testing.assert_kernels(executable, at_most=1)
    message = str(caught.value)
    assert "launches 2 kernels, at most 1 were expected" in message
    assert re.search(r"k0_contract_add_tanh: contract, add, tanh  at .*test_testing.py:\d+ in model", message)
    assert re.search(r"contract \(.*\) with contract \(.*\): a contraction begins a kernel of its own", message)


@pytest.mark.parametrize("bounds, words", [({"at_least": 3}, "at least 3"), ({"exactly": 1}, "exactly 1"),
                                           ({"at_most": 1, "exactly": 4}, "at most 1 and exactly 4")])
def test_the_message_names_the_bound(executable, bounds, words):
    with pytest.raises(AssertionError, match=words):
        lm.testing.assert_kernels(executable, **bounds)


def test_what_is_not_fused_is_said_with_its_reason(executable):
    with pytest.raises(AssertionError,
                       match="computes contract, contract together\n(.|\n)*a contraction begins a kernel of its own"):
        lm.testing.assert_fused(executable, "contract", "contract")
    with pytest.raises(AssertionError, match="no kernel computes sin at all"):
        lm.testing.assert_fused(executable, "tanh", "sin")
    with pytest.raises(AssertionError, match="at most 1"):
        lm.testing.assert_fused(executable)


def test_without_numbers_there_is_nothing_to_assert(executable):
    with pytest.raises(lm.LaminaError, match="no number"):
        lm.testing.assert_kernels(executable)


def test_a_loaded_model_is_asserted_on_without_reasons(executable, tmp_path):
    executable.save(tmp_path / "m.lam")
    loaded = lm.load(tmp_path / "m.lam")
    lm.testing.assert_fused(loaded, "contract", "tanh")
    with pytest.raises(AssertionError, match="loaded from a file"):
        lm.testing.assert_kernels(loaded, at_most=1)


def test_a_model_without_kernels(tmp_path):
    nothing = lm.compile(lambda x: x, lm.TensorSpec((0,)))
    lm.testing.assert_kernels(nothing, exactly=0)
    assert nothing(np.ones(0, np.float32))[0].shape == (0,)
