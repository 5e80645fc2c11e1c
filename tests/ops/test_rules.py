"""Has every op its rules, and do they agree with each other and with what others compute?"""

from dataclasses import is_dataclass

import numpy as np
import pytest

from lamina.compiler import ops
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.ops import REGISTRY
from lamina.compiler.ops.control import Control  # these widen no operand
from lamina.compiler.ops.op import Op

from .oracles import ORACLES, oracle
from .samples import all_samples, assert_close, types_of, widened



@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_rule_is_there(name):
    cls = REGISTRY[name]
    assert is_dataclass(cls) and cls.__dataclass_params__.frozen
    assert not cls.__doc__.startswith(cls.__name__ + "("), "a docstring of its own, not the one that dataclass makes"
    assert cls.infer is not Op.infer
    assert cls.reference is not Op.reference
    assert cls.has_element == (cls.element is not Op.element)
    assert cls.samples()
    assert all(type(s.op) is cls for s in cls.samples())
    assert cls in ORACLES, "an oracle in tests/ops/oracles.py that is independent of the reference"
    assert getattr(ops, cls.__name__) is cls and cls.__name__ in ops.__all__


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_samples_are_always_the_same(name):
    for one, two in zip(REGISTRY[name].samples(), REGISTRY[name].samples(), strict=True):
        for a, b in zip(one.arrays, two.arrays, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sample", all_samples())
def test_infer_agrees_with_the_reference(sample):
    expected = sample.op.infer(*types_of(sample.arrays))
    arrays = sample.arrays if isinstance(sample.op, Control) else widened(sample.arrays)
    before = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        got = sample.op.reference(*arrays)
    for array, t in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
        assert np.shape(array) == t.shape
        assert as_dtype(np.asarray(array).dtype) in (t.dtype, t.dtype.compute)
    for a, b in zip(before, arrays):
        np.testing.assert_array_equal(a, b)  # operands are left alone


@pytest.mark.parametrize("sample", all_samples())
def test_reference_agrees_with_others(sample):
    with np.errstate(all="ignore"):
        expected = oracle(sample.op, *sample.arrays)
        got = sample.op.evaluate(*sample.arrays)
        for array, t, other in zip(got, sample.op.infer(*types_of(sample.arrays)), expected, strict=True):
            assert (array.shape, array.dtype) == (t.shape, t.dtype.numpy)
            assert_close(array, np.asarray(other).astype(array.dtype), sample.tolerance)
