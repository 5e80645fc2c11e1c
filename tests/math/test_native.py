"""Does native code compute what the recipes say, bit for bit?"""

import numpy as np
import pytest

from lamina.compiler.ops import REGISTRY
from lamina.compiler.ops.op import Sample
from lamina.compiler.targets.find import find_target

from ..ops.native import run
from .evaluation import evaluate, sample
from .test_functions import UNARY_FUNCTIONS, pairs


@pytest.mark.skipif(not find_target("host").has_fma, reason="without FMA every fma rounds twice")
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_native_code_follows_the_recipes(dtype):
    x = sample(dtype, 6000)
    trials = [(op, (x,)) for op in UNARY_FUNCTIONS] + [(op, pairs(dtype, 11)) for op in ("pow", "atan2")]
    kinds = {kind.kernel_op: kind for kind in REGISTRY.values() if getattr(kind, "kernel_op", "")}
    results = run([Sample(kinds[op](), arrays) for op, arrays in trials])
    for (op, arrays), (got,) in zip(trials, results):
        np.testing.assert_array_equal(got, evaluate(op, *arrays), err_msg=op)
