"""Are weights that a loop captures packed once, in front of it, and do they still mean the same?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.types import TensorType
from lamina.compiler.core.dtypes import float32
from lamina.compiler.ops.pack import Unpack
from lamina.compiler.passes.pack_captured import packing
from lamina.compiler.plan.program import Loop, walk_launches

from ..plan.programs import floats, program_of

rng = np.random.default_rng(0)


@pytest.mark.parametrize("unpack", [sample.op for sample in Unpack.samples()], ids=str)
def test_packing_is_the_inverse_of_unpacking(unpack):
    array = rng.standard_normal(unpack.shape).astype("float32")
    graph = packing(unpack, TensorType(unpack.shape, float32)).body.verify()
    (packed,) = graph.evaluate(array)
    np.testing.assert_array_equal(packed, unpack.pack(array))
    np.testing.assert_array_equal(lm.compile(graph)(array)[0], unpack.pack(array))


def cell(h, x, w, u):
    return lm.tanh(x + h @ u.T) @ w


@pytest.mark.parametrize("steps", [5, "n"])
def test_a_loop_s_weights_are_packed_once(steps):
    def loop(h, xs, w, u):
        return lm.scan(lambda h, x: (cell(h, x, w, u), h), h, xs)
    graph = lm.trace(loop, floats(19, 24), floats(steps, 19, 40), floats(40, 24), floats(40, 24), dims={"n": (1, 9)} if steps == "n" else None)
    program = program_of(graph).verify()
    labels = [launch.label for launch in walk_launches(program.steps)]
    (body,) = [step for step in program.steps if isinstance(step, Loop)]
    assert labels.count("2 x pack") == 1 and all("pack" not in launch.label for launch in walk_launches(body.steps))
    inside = [program.kernels[launch.kernel] for launch in walk_launches(body.steps)]
    assert not any(b.role == "workspace" for kernel in inside for b in kernel.params)
    arrays = [rng.standard_normal(s).astype("float32") / 4 for s in ((19, 24), (5, 19, 40), (40, 24), (40, 24))]
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_few_steps_and_what_changes_in_the_loop_are_not():
    def few(h, xs, w, u):
        return lm.scan(lambda h, x: (cell(h, x, w, u), h), h, xs)
    graph = lm.trace(few, floats(19, 24), floats(3, 19, 40), floats(40, 24), floats(40, 24))
    assert all(launch.label != "pack" for launch in walk_launches(program_of(graph).steps))

    def changing(h, u):
        return lm.scan(lambda c, _: ((lm.tanh(c[0] @ c[1]), c[1] * 0.5), None), (h, u), None, length=6)
    graph = lm.trace(changing, floats(19, 24), floats(24, 24))
    assert all(launch.label != "pack" for launch in walk_launches(program_of(graph).steps))
