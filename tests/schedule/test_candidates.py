"""Does a kernel compute the same by every schedule that it may take, and is what it is told what it does?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import CompilerError, FormatError
from lamina.compiler.core.options import Options
from lamina.compiler.core.schedule import Schedule
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.text import graph_constants, parse_graph
from lamina.compiler.plan.interpret import run as interpret
from lamina.compiler.schedule.candidates import MOST, candidates
from lamina.compiler.targets.find import all_targets, find_target
from lamina.runtime.executable import Executable

from ..ops.native import OBJECTS
from ..ops.samples import assert_close
from ..plan.programs import arrays_of, floats
from .groups import constants_of, fused, graphs, groups, program_of_groups, with_schedule


def compiled(graph, **options):
    """From the groups on."""
    return Executable(compile_graph(graph, options=Options(**options), cache=OBJECTS, after="fuse"))


def scheduled(graph, target="host"):
    """(groups with a schedule that one of them may take, which) for all of them."""
    found = fused(graph, Options(target=target))
    for node in groups(found):
        for schedule in candidates(node.op, constants_of(node), find_target(target), Options()):
            yield with_schedule(found, node, schedule), schedule


@pytest.mark.parametrize("name", graphs())
def test_every_candidate_computes_the_same(name):
    graph = graphs()[name]
    for extents in ({"n": 1}, {"n": 37}) if graph.symbols else ({},):
        arrays = arrays_of(graph, extents)
        expected = graph.evaluate(*arrays)
        for changed, _ in scheduled(graph):
            for threads in (1, 2):
                for result, wanted in zip(compiled(changed)(*arrays, threads=threads), expected):
                    np.testing.assert_allclose(result, wanted, rtol=0, atol=2e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("target", [t.name for t in all_targets()])
@pytest.mark.parametrize("name", graphs())
def test_every_candidate_can_be_lowered_for_every_target(name, target):
    for changed, schedule in scheduled(graphs()[name], target):
        assert program_of_groups(changed, target=target).kernels, schedule


@pytest.mark.parametrize("name", graphs())
def test_the_heuristic_is_the_first_of_few(name):
    for node in groups(fused(graphs()[name])):
        found = candidates(node.op, constants_of(node), find_target("host"), Options())
        assert found[0] == Schedule() and len(found) <= MOST and len(set(found)) == len(found)


def test_kinds_of_kernels_have_several_candidates():
    target = find_target("x86-64-v4")
    counts = {name: max(len(candidates(n.op, constants_of(n), target, Options())) for n in groups(fused(g)))
              for name, g in graphs().items()}
    assert all(count > 1 for count in counts.values()), counts


def test_convolutions_stay_direct_where_the_user_wants_that():
    (node,) = (n for n in groups(fused(graphs()["winograd"])) if n.op.kind == "contraction")
    target = find_target("x86-64-v4")
    assert {s.winograd for s in candidates(node.op, constants_of(node), target, Options())} == {None, 0, 2, 4}
    assert {s.winograd for s in candidates(node.op, constants_of(node), target, Options(winograd=False))} == {None}


def test_what_needs_a_kernel_in_front_of_it_is_left_to_the_heuristic():
    """Weights that are no constants are transformed for Winograd's algorithm by a kernel of their own."""
    graph = fused(lm.trace(lambda x, w: lm.conv(x, w, padding=1, layout="NHWC"),
                           floats(1, 28, 28, 64), floats(3, 3, 64, 64)))
    (node,) = (n for n in groups(graph) if n.op.kind == "contraction")
    target = find_target("x86-64-v4")
    assert candidates(node.op, frozenset(), target, Options()) == [Schedule()]
    assert len(candidates(node.op, frozenset(), target, Options(winograd=False))) > 1


# ---- the text --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", graphs())
def test_schedules_come_back_from_text(name):
    for changed, schedule in scheduled(graphs()[name]):
        text = str(changed)
        assert ("schedule=schedule(" in text) == (schedule != Schedule())
        parsed = parse_graph(text, graph_constants(changed))
        assert str(parsed) == text
        assert [n.op.schedule for n in groups(parsed)] == [n.op.schedule for n in groups(changed)]


def test_a_dim_may_be_called_schedule():
    graph = fused(lm.trace(lambda x: lm.exp(x), floats("schedule", 3)))
    (node,) = groups(graph)
    graph = with_schedule(graph, node, Schedule(interleave=4))
    assert "schedule(interleave=4)" in str(graph) and str(parse_graph(str(graph))) == str(graph)


TEXT = """graph g(%x: f32[4]) {{
  %0 = fused(%x) {{body=graph b(%x: f32[4]) {{
    %0 = exp(%x)
    return %0
  }}, kind="loops", schedule=schedule({})}}
  return %0
}}"""


@pytest.mark.parametrize("choices, message", [
    ("height=3", "a schedule's choices are rows, vectors, units, packs, winograd, interleave, not height"),
    ("rows=0", "a schedule's rows is 0"), ("rows=1.5", "a schedule's rows is 1.5"),
    ("packs=1", "a schedule's packs is 1"), ("winograd=-1", "a schedule's winograd is -1"),
    ("rows 3", "'=' was expected")])
def test_schedules_that_are_none_are_refused_with_their_place(choices, message):
    with pytest.raises(FormatError, match=f"(?s){message}.*line 5|line 5.*{message}"):
        parse_graph(TEXT.format(choices))


# ---- what they do ----------------------------------------------------------------------------------------------------
def test_a_schedule_that_the_registers_can_not_hold_is_refused():
    graph = fused(graphs()["product"], Options(target="x86-64-v3"))
    node = next(n for n in groups(graph) if n.op.kind == "contraction")
    changed = with_schedule(graph, node, Schedule(rows=13, vectors=2))
    with pytest.raises(CompilerError, match="asks for 13 rows where the registers hold 6"):
        compile_graph(changed, options=Options(target="x86-64-v3"), after="fuse")


@pytest.mark.parametrize("name, schedule, sign", [
    ("product", Schedule(rows=5, vectors=1), "register acc: f32[5, 16]"),
    ("winograd", Schedule(winograd=2), "workspace transformed"),
    ("cells", Schedule(rows=2, vectors=2), "register acc: f32[2, 128]"),
    ("attention", Schedule(rows=4, vectors=3), "register acc: f32[4, 48]")])
def test_kernels_follow_their_schedule(name, schedule, sign):
    graph = fused(graphs()[name], Options(target="x86-64-v4"))
    node = [n for n in groups(graph) if n.op.kind not in ("loops", "reduction")][-1]
    texts = [program_of_groups(g, target="x86-64-v4").kernels for g in (graph, with_schedule(graph, node, schedule))]
    before, after = ("\n".join(map(str, kernels)) for kernels in texts)
    assert sign in after, after


def test_equal_groups_with_other_schedules_are_other_kernels():
    graph = fused(lm.trace(lambda x, y: (lm.exp(x).sum(), lm.exp(y).sum()), floats(997), floats(997)))
    first, _ = groups(graph)
    assert len(program_of_groups(graph).kernels) == 1
    assert len(program_of_groups(with_schedule(graph, first, Schedule(interleave=8))).kernels) == 2


def test_the_interpreter_agrees():
    graph = fused(graphs()["product"])
    node = next(n for n in groups(graph) if n.op.kind == "contraction")
    program = program_of_groups(with_schedule(graph, node, Schedule(rows=3, vectors=3)))
    arrays = arrays_of(graph)
    assert_close(interpret(program, arrays, {})[0], graph.evaluate(*arrays)[0], 1e-5)
