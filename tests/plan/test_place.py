"""Is nothing copied that need not be?  Which kernels a program launches, and where their results lie."""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.plan.program import Branch, Loop, walk_launches

from .programs import floats, program_of, traced


def kernels(program) -> list[str]:
    """The labels of what is launched, in order."""
    return [launch.label for launch in walk_launches(program.steps)]


def storages(program) -> list[str]:
    return [slot.storage.label for slot in program.plan.slots]


def assert_right(function, *arrays):
    graph = lm.trace(function, *(floats(*a.shape) for a in arrays))
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


X, Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), np.linspace(0, 2, 6, dtype=np.float32).reshape(3, 2)


def test_a_concatenation_is_computed_where_it_ends_up():
    def f(x, y):
        return lm.concat([lm.tanh(x), lm.exp(y)], axis=1)
    program = traced(f, floats(3, 4), floats(3, 2))
    assert kernels(program) == ["2 groups"] and storages(program) == []
    places = next(walk_launches(program.steps)).places[-2:]
    assert [(p.storage.kind, p.offset, p.strides) for p in places] == [("output", 0, (6, 1)), ("output", 4, (6, 1))]
    assert_right(f, X, Y)


def test_a_parameter_that_is_joined_is_copied_once():
    program = traced(lambda x, y: lm.concat([x, lm.exp(y), x], axis=1), floats(3, 4), floats(3, 2))
    (launch,) = walk_launches(program.steps)
    assert sorted(part.op.label for part in launch.group.body.nodes) == ["copy", "copy", "exp"]
    assert_right(lambda x, y: lm.concat([x, lm.exp(y), x], axis=1), X, Y)


def test_a_value_that_is_joined_twice_is_stored_twice_by_one_kernel():
    def f(x):
        y = lm.tanh(x)
        return lm.concat([y, y], axis=0)
    assert kernels(traced(f, floats(3, 4))) == ["tanh"]
    assert_right(f, X)


def test_nested_joins_are_one():
    def f(x, y):
        return lm.concat([lm.concat([lm.tanh(x), lm.exp(y)], axis=1), lm.sin(x)], axis=1)
    program = traced(f, floats(3, 4), floats(3, 2))
    (launch,) = walk_launches(program.steps)
    assert sorted(part.op.label for part in launch.group.body.nodes) == ["exp", "sin", "tanh"] and storages(program) == []
    assert_right(f, X, Y)


def test_a_stack_is_computed_in_place():
    def f(x):
        return lm.stack([lm.tanh(x), lm.exp(x), lm.sin(x)], axis=1)
    program = traced(f, floats(3, 4))
    assert "copy" not in kernels(program) and storages(program) == []
    assert_right(f, X)


def test_padding_is_filled_around_what_is_computed():
    def f(x):
        return lm.pad(lm.tanh(x), ((1, 2), (0, 3)), constant_values=7.0)
    program = traced(f, floats(3, 4))
    assert sorted(kernels(program)) == ["pad border", "tanh"] and storages(program) == []
    assert_right(f, X)


def test_padding_of_an_input_copies_the_input_once():
    program = traced(lambda x: lm.pad(x, ((1, 1), (1, 1))), floats(3, 4))
    assert sorted(kernels(program)) == ["copy", "pad border"]


@pytest.mark.parametrize("view", [lambda v: v.T, lambda v: lm.reshape(v, (2, 6)), lambda v: v[1:, ::2],
                                  lambda v: lm.flip(v, axis=0)],
                         ids=["transpose", "reshape", "slice", "flip"])
def test_views_in_between_cost_no_kernel(view):
    def f(x, y, w):
        return lm.matmul(view(lm.matmul(x, y)), w)
    width = view(np.ones((3, 4))).shape[-1]
    program = traced(f, floats(3, 5), floats(5, 4), floats(width, 2))
    assert kernels(program) == ["contract", "contract"]


def test_a_transposed_result_is_written_transposed():
    def f(x):
        return lm.transpose(lm.tanh(x))
    program = traced(f, floats(3, 4))
    assert len(kernels(program)) == 1 and "copy" not in kernels(program) and storages(program) == []
    assert_right(f, X)


def test_results_take_over_the_memory_of_operands_that_are_read_for_the_last_time():
    def f(x, w):
        y = lm.matmul(x, w)
        return lm.matmul(lm.matmul(lm.matmul(y, w), w) + y, w)
    program = traced(f, floats(64, 64), floats(64, 64))
    first, _, added, _ = walk_launches(program.steps)
    assert added.label == "contract+add" and kernels(program).count("contract") == 3
    kernel = program.kernels[added.kernel]
    (result,) = [p for p, b in zip(added.places, kernel.params) if b.role == "out"]
    assert result.storage is first.places[2].storage
    assert [s for s in storages(program) if "workspace" not in s] == ["contract", "contract"]
    x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    assert_right(f, x, x.T / 8)


def test_loops_copy_nothing_between_iterations():
    program = traced(lambda h, xs: lm.scan(lambda c, x: (lm.tanh(c + x), c * x), h, xs), floats(4), floats(5, 4))
    (loop,) = [step for step in program.steps if isinstance(step, Loop)]
    assert "copy" not in kernels(type(program)(**{**vars(program), "steps": (loop,)}))
    assert kernels(program).count("copy") == 2  # the first carry in, the last one out
    assert program.plan.arena_bytes == 64


def test_a_carry_that_does_not_change_stays_where_it_is():
    program = traced(lambda w, h: lm.fori_loop(0, 3, lambda i, c: (c[0], lm.tanh(lm.matmul(c[0], c[1]))), (w, h)),
                     floats(4, 4), floats(4))
    assert not any(p.storage.kind == "arena" and p.shape == (4, 4) for launch in walk_launches(program.steps)
                   for p in launch.places)


def test_branches_write_their_results_to_one_place():
    program = traced(lambda i, x: lm.switch(i, [lambda v: v + 1, lambda v: lm.sin(v)], x), floats(dtype="int32"),
                     floats(2, 3))
    (branch,) = [step for step in program.steps if isinstance(step, Branch)]
    ends = [steps[-1].places[-1] for steps in branch.branches]
    assert ends[0].storage is ends[1].storage and ends[0].storage.kind == "output" and storages(program) == []


def test_equal_groups_share_a_kernel():
    def f(x, w):
        for _ in range(4):
            x = lm.tanh(lm.matmul(x, w))
        return x
    program = traced(f, floats(8, 8), floats(8, 8))
    assert len(kernels(program)) == 4 and len(program.kernels) == 1


def test_operands_of_contractions_come_from_memory():
    """A single number, or one number everywhere, as the weights of a convolution."""
    x = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    from lamina.compiler.core.types import TensorType
    from lamina.compiler.core.dtypes import float32
    from lamina.compiler.graph.builder import Builder
    from lamina.compiler.ops import Broadcast, Conv
    builder = Builder("numbers", fold=False)
    p = builder.parameter(TensorType((1, 8, 1), float32), "p")
    conv = Conv((2,), ((0, 0),), (1,))
    one = builder.emit(conv, p, builder.constant(np.full((1, 1, 1), 2, np.float32)))
    half = builder.constant(np.array(0.5, np.float32))
    two = builder.emit(conv, builder.emit(Broadcast((1, 8, 1), ()), half),
                       builder.constant(np.full((1, 1, 1), 3, np.float32)))
    graph = builder.finish([one, two])
    for got, want in zip(lm.compile(graph)(x), graph.evaluate(x), strict=True):
        np.testing.assert_array_equal(got, want)


def by_rows(x, c):
    """Two results for each row, the first of which may lie where an operand does that the second is made of too."""
    d = lm.sum(x, axis=1) / lm.cumulative_sum(c, axis=0)
    return lm.cumulative_sum(d, axis=0), lm.cumulative_sum(lm.tanh(d), axis=0)


def by_elements(x, c):
    s = lm.cumulative_sum(x, axis=1) + lm.sum(x) * 0.1
    share = s / lm.sum(s, axis=1, keepdims=True)
    return lm.cumulative_sum(s, axis=0), lm.cumulative_sum(share, axis=0), lm.cumulative_sum(lm.tanh(s), axis=1)


def by_others(x, c):
    y = lm.cumulative_sum(x, axis=1)
    a = y + 1
    return lm.cumulative_sum(a, axis=0), lm.cumulative_sum(y * 2 - lm.sum(a, axis=1, keepdims=True), axis=0)


@pytest.mark.parametrize("function", [by_rows, by_elements, by_others])
def test_operands_are_read_before_a_result_takes_their_place(function):
    from lamina.compiler.plan.interpret import run
    x, c = np.linspace(0.1, 0.7, 24, dtype=np.float32).reshape(4, 6), np.array([2, 1, 0.5, 3], np.float32)
    graph = lm.trace(function, floats(4, 6), floats(4))
    for got, want in zip(run(program_of(graph), [x, c]), graph.evaluate(x, c), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert_right(function, x, c)


@pytest.mark.parametrize("size", [5, 63, 64])
def test_memory_that_is_read_in_another_way_too_is_kept(size):
    def transposed_too(x, w):
        y = lm.softmax(x @ w, axis=0)
        return (y + y.T) @ w
    generator = np.random.default_rng(0)
    x, w = (generator.standard_normal((size, size), "float32") for _ in range(2))
    assert_right(transposed_too, x, w)
