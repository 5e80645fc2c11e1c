"""Do independent groups run as one kernel, with the same bits, in no more memory, and share code where they are alike?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.text import print_graph
from lamina.compiler.kernel.ir import Choose, For, If
from lamina.compiler.kernel.text import parse_kernel, print_kernel
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.program import walk_launches
from lamina.compiler.targets.find import find_target

from .programs import arrays_of, floats, program_of


def momentum(*arrays):
    """An update of each parameter: `arrays` are parameters, then what is remembered of them, then gradients."""
    n = len(arrays) // 3
    kept = [0.9 * m + g for m, g in zip(arrays[n:2 * n], arrays[2 * n:])]
    return *(p - 0.1 * m for p, m in zip(arrays[:n], kept)), *kept


def updates(*shapes, dtype="float32", dims=None):
    return lm.trace(momentum, *(floats(*s, dtype=dtype) for s in shapes * 3), dims=dims)


def assert_one_kernel(graph, parts, extents=None):
    """Its launch of so many parts; natively, on threads, and interpreted the numbers are those of the graph."""
    program = program_of(graph).verify()
    (launch,) = walk_launches(program.steps)
    assert launch.group.kind == "horizontal" and len(launch.group.body.nodes) == parts
    kernel = program.kernels[launch.kernel]
    assert print_kernel(parse_kernel(print_kernel(kernel)).verify()) == print_kernel(kernel)
    arrays = arrays_of(graph, extents)
    wanted = graph.evaluate(*arrays)
    executable = lm.compile(graph)
    one, two = (executable(*arrays, threads=n) for n in (1, 2))
    is_small = sum(a.size for a in arrays) < 5000
    found = [run(program, arrays, extents, backwards) for backwards in (False, True)] if is_small else []
    for i, want in enumerate(wanted):
        np.testing.assert_array_equal(np.atleast_1d(one[i]).view(np.uint8), np.atleast_1d(two[i]).view(np.uint8))
        for got in (one[i], *(f[i] for f in found)):
            near = {2: 2e-2, 4: 1e-5, 8: 1e-12}[want.dtype.itemsize]
            np.testing.assert_allclose(got.astype("f8"), want.astype("f8"), rtol=near, atol=near)
    return kernel


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shapes", [((7,), (3, 5)), ((1,), (), (13, 1)), ((0,), (31,), (2, 0)),
                                    ((4, 4), (4, 4), (16,), (4, 4))], ids=str)
def test_updates_are_one_kernel(shapes, dtype):
    if any(0 in s for s in shapes):
        parts = sum(0 not in s for s in shapes)
        program = program_of(updates(*shapes, dtype=dtype)).verify()
        assert len(list(walk_launches(program.steps))) == 1 == parts
        return
    assert_one_kernel(updates(*shapes, dtype=dtype), len(shapes))


def test_large_and_small_parts_are_shared_out_among_threads():
    kernel = assert_one_kernel(updates((300, 257), (3,), (70_001,), (64, 64), (1,)), 5)
    assert [s.kind for s in kernel.body if isinstance(s, For)] == ["parallel"]


def test_symbolic_extents():
    graph = updates(("n", 3), (5,), ("n",), dims={"n": (1, 4000)})
    assert_one_kernel(graph, 3, {"n": 17})
    executable = lm.compile(graph)
    for n in (1, 2, 3999):
        arrays = arrays_of(graph, {"n": n})
        for got, want in zip(executable(*arrays), graph.evaluate(*arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_parts_that_are_not_elementwise():
    """Reads along one axis and writes along another, of several shapes, of integers, of rows that are looked up."""
    def various(x, y, i):
        return lm.exp(x).T, lm.flip(y, axis=0) + 1, i[1:] * 2, lm.pad(y, ((1, 0), (0, 2))), lm.take(x, i, axis=0)
    graph = lm.trace(various, floats(40, 24), floats(3, 5), floats(6, dtype="int64"))
    launch, border = walk_launches(program_of(graph).verify().steps)
    arrays = arrays_of(graph)
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert len(launch.group.body.nodes) == 5 and border.label == "pad border"


def statements(body):
    for s in body:
        yield s
        if isinstance(s, For):
            yield from statements(s.body)
        elif isinstance(s, If):
            yield from statements(s.then)


def test_parts_that_are_alike_share_code():
    few, many = ([*statements(assert_one_kernel(updates(*[(8,), (5, 3)] * n), 2 * n).body)] for n in (2, 20))
    assert len(few) == len(many)
    assert {len(s.choices) for s in many if isinstance(s, Choose)} == {20}


def test_what_all_parts_read_is_one_parameter():
    def scaled(rate, *arrays):
        return tuple(rate * a for a in arrays)
    graph = lm.trace(scaled, floats(), *[floats(9)] * 12)
    (launch,) = walk_launches(program_of(graph).steps)
    assert len(launch.places) == 1 + 12 + 12


def test_results_take_over_the_memory_of_their_own_parameters_alone():
    graph = updates((5, 3), (7,), (7,))
    assert [port.shares for port in program_of(graph, donate=tuple(range(6))).verify().outputs] == list(range(6))


def test_a_parameter_that_two_read_keeps_them_apart_if_one_may_be_computed_in_its_place():
    remarks = Remarks()
    graph = lm.trace(lambda x, y: (lm.tanh(x), lm.flip(x, axis=0) * y, lm.exp(y)), floats(6), floats(6))
    placed = run_pipeline(graph, find_target("host"), Options(), remarks)
    assert [n.op.kind for n in placed.nodes if n.op.name == "fused"].count("horizontal") == 1
    assert any("may be computed in place of" in r.reason for r in remarks)
    assert program_of(graph, donate=(0,)).verify().outputs[0].shares == 0


def test_groups_of_parameters_alone_run_together_first():
    def early(ids, mask, x):
        index = lm.where(ids < 0, ids + 4, ids)
        penalty = (1 - mask) * 1e4
        return lm.softmax(lm.take(x, index, axis=0) @ x.T - penalty[:, None], axis=1)
    graph = lm.trace(early, floats(3, dtype="int64"), floats(3), floats(4, 4))
    launches = list(walk_launches(program_of(graph).verify().steps))
    assert launches[0].group.kind == "horizontal"


def chained(x, *parameters):
    """An output early, whose input is free behind it, before memory is at its peak."""
    early = lm.softmax(x, axis=0)
    wide = lm.softmax(lm.sum(x, axis=0)[None] + parameters[0], axis=1)
    return lm.exp(early) * 2, lm.exp(lm.sum(lm.sin(wide), axis=1))


def test_what_would_raise_the_peak_stays_where_it_was():
    graph = lm.trace(chained, floats(64, 8), floats(200, 8))
    remarks = Remarks()
    run_pipeline(graph, find_target("host"), Options(), remarks)
    assert not any(r.stage == "fuse-horizontal" and r.applied for r in remarks)


def test_fuse_keeps_all_apart_where_it_is_told_to():
    program = program_of(updates((7,), (3, 5)), fuse=False).verify()
    assert not any(launch.group.kind == "horizontal" for launch in walk_launches(program.steps))


def test_the_group_prints_and_parses():
    graph = run_pipeline(updates((7,), (3, 5)), find_target("host"), Options(), Remarks())
    text = print_graph(graph)
    assert 'kind="horizontal"' in text and lm.parse(text).verify() == graph
    arrays = arrays_of(graph)
    for got, want in zip(lm.parse(text).evaluate(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_array_equal(got, want)
