"""Does the interpreter of programs compute what the graph and the native program do, and does it catch plans that are
wrong?"""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import ShapeError, VerifyError
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.program import Launch, MemoryPlan, Slot, walk_launches

from .programs import arrays_of, floats, models, program_of, traced


def assert_near(got, expected, tolerance=2e-6):
    for a, b in zip(got, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("name", models())
def test_program_computes_what_the_graph_does(name):
    graph = models()[name]
    program = program_of(graph)
    for seed, extent in enumerate((1,) if name == "digits" else (2, 5) if graph.symbols else (0,)):
        arrays = arrays_of(graph, {s.name: extent for s in graph.symbols}, seed)
        results = run(program, arrays)
        assert_near(results, graph.evaluate(*arrays))
        for a, b in zip(run(program, arrays, backwards=True), results):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", models())
def test_native_code_computes_what_the_program_does(name):
    graph = models()[name]
    arrays = arrays_of(graph, {"batch": 1} if name == "digits" else None)
    native = lm.compile(graph)(*arrays)
    assert_near(native, run(program_of(graph), arrays))


def test_arguments_must_fit():
    program = program_of(models()["symbolic joined"])
    with pytest.raises(ShapeError, match="takes 2 arrays, 1 were given"):
        run(program, [np.zeros((2, 4))])
    with pytest.raises(ShapeError, match="dim 'batch' is 3 here and 2 in input"):
        run(program, [np.zeros((2, 4)), np.zeros((3, 2))])
    with pytest.raises(ShapeError, match="breaks the fact batch=1..8"):
        run(program, [np.zeros((9, 4)), np.zeros((9, 2))])


def without(program, unwanted: Launch):
    return replace(program, steps=tuple(step for step in program.steps if step is not unwanted))


def two_kernels():
    return traced(lambda x, w: lm.exp(lm.matmul(lm.tanh(lm.matmul(x, w)), w)), floats(2, 8), floats(8, 8))


def test_a_read_of_what_nobody_wrote_is_found():
    program = two_kernels()
    first, *_, last = walk_launches(program.steps)
    arrays = [np.ones((2, 8)), np.ones((8, 8))]
    with pytest.raises(VerifyError,
                       match=rf"step \d+ \({program.kernels[1].name}\) reads 16 elements of the arena storage "
                                          r"'contract\+tanh' that were not written"):
        run(without(program, first), arrays)
    with pytest.raises(VerifyError, match="64 of 64 bytes of output 'out0' were never written"):
        run(without(program, last), arrays)


def test_storages_that_share_memory_are_found():
    program = traced(chained, floats(4, 4), floats(4, 4))
    arrays = [np.ones((4, 4)), np.ones((4, 4))]
    run(program, arrays)
    slots = tuple(Slot(slot.storage, 0, ()) for slot in program.plan.slots)
    with pytest.raises(VerifyError, match="reads 16 elements of the arena storage '.*' that were not written"):
        run(replace(program, plan=MemoryPlan(slots, program.plan.arena_bytes, program.plan.lower_bound, 0)), arrays)


def chained(x, w):
    a = lm.matmul(x, w)
    b = lm.matmul(a, w)
    return lm.matmul(b, a)


def test_a_place_outside_of_its_storage_is_found():
    program = two_kernels()
    (storage,) = {slot.storage for slot in program.plan.slots}
    storage.size = 32
    with pytest.raises(VerifyError, match="reaches the bytes 0..64 of the arena storage 'contract.tanh', which has 32"):
        run(program, [np.ones((2, 8)), np.ones((8, 8))])


def test_memory_of_an_iteration_is_gone_in_the_next():
    program = program_of(models()["scanned twice"])
    arrays = arrays_of(models()["scanned twice"])
    run(program, arrays)
    (outer,) = [step for step in program.steps if not isinstance(step, Launch)]
    inner = [step for step in outer.steps if not isinstance(step, Launch)]
    assert inner, "the inner scan is a loop inside of the outer one"
    first = next(step for step in outer.steps if isinstance(step, Launch))  # it makes what the inner loop starts from
    broken = replace(outer, steps=tuple(step for step in outer.steps if step is not first))
    with pytest.raises(VerifyError, match="that were not written"):
        run(replace(program, steps=tuple(broken if step is outer else step for step in program.steps)), arrays)


@pytest.mark.parametrize("function", [
    lambda x, w: lm.matmul(lm.flip(x, axis=1), w),
    lambda x, w: lm.matmul(x[::-1, 6::-2], w[:4]),
    lambda x, w: lm.sum(lm.flip(x), axis=0) + 1,
    lambda x, w: lm.flip(x[0]) * 2,
    lambda x, w: lm.tanh(lm.broadcast_to(x[0, :1], (8,))),
    lambda x, w: lm.argmax(lm.flip(x, axis=(0, 1)), axis=1),
    lambda x, w: lm.cumulative_sum(lm.flip(x[1]), axis=0),
], ids=["product", "steps", "sum", "row", "broadcast", "argmax", "running"])
def test_memory_is_read_backwards_and_in_place(function):
    """Views of an input with negative strides, and with none, whose memory is as long as they are."""
    graph = lm.trace(function, floats(4, 8), floats(8, 3))
    arrays = arrays_of(graph)
    arrays[0] = np.arange(32, dtype=np.float32).reshape(4, 8)
    assert_near(run(program_of(graph).verify(), arrays), graph.evaluate(*arrays))
    assert_near(lm.compile(graph)(*arrays), graph.evaluate(*arrays))
