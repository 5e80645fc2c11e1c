"""Is a graph drawn whole, and does the page's data of launches and memory agree with the program?"""

import json

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.driver import compile_program
from lamina.compiler.graph.text import parse_graph
from lamina.frontends.report.html import page_data
from lamina.frontends.report.levels import Levels
from lamina.frontends.report.marks import Marks
from lamina.frontends.report.steps import remark_data
from lamina.runtime.executable import Executable
from lamina.runtime.profile import Roofline


def block(x, w):
    return lm.tanh(x @ w) @ w.T


@pytest.fixture(scope="module")
def levels():
    return Levels(lm.trace(block, lm.TensorSpec((8, 16)), lm.TensorSpec((16, 16))))


@pytest.fixture(scope="module")
def data(levels):
    return page_data(levels, "block")


def test_every_operator_is_drawn_and_sources_come_before(data, levels):
    drawn = data["graphs"]["traced"]
    operators = [node.op.name for node in levels.traced.nodes if node.op.name not in ("constant", "broadcast")]
    names = [name for name, family, *_ in drawn["nodes"] if family not in ("input", "output")]
    assert [name for name in names if name != "broadcast"] == operators
    assert all(source < number for number, node in enumerate(drawn["nodes"]) for source in node[3])
    ends = [node[0] for node in drawn["nodes"] if node[1] == "output"]
    assert ends == list(levels.traced.output_names) and drawn["boxes"] == []


def test_groups_are_boxes_with_their_kernels(data, levels):
    drawn = data["graphs"]["fused"]
    fused = [node.op for node in levels.graph("fused").nodes if node.op.name == "fused"]
    assert [(title, kind) for title, kind, *_ in drawn["boxes"]] == [(op.label, op.kind) for op in fused]
    names = data["marks"]["names"]
    kernels = [{names[m] for m in box[3] if names[m].startswith("k")} for box in drawn["boxes"]]
    assert all(len(found) == 1 for found in kernels) and set.union(*kernels) == {f"k{n}" for n in range(len(levels.program.kernels))}
    inside = [node for node in drawn["nodes"] if node[5] >= 0]
    assert inside and all(kernels[node[5]] <= {names[m] for m in node[4]} for node in inside)


def test_a_drawn_node_carries_the_marks_of_its_line(data):
    column = data["stages"][0]["blocks"][0]
    names = data["marks"]["names"]
    tanh = next(node for node in data["graphs"]["traced"]["nodes"] if node[0] == "tanh")
    row = next(line for line in column["lines"] if "= tanh(" in line[0])
    assert set(row[2][2]) <= set(tanh[4]) and set(row[1]) <= set(tanh[4]) and any(names[m].startswith("v") for m in tanh[4])


def test_constants_and_what_rearranges_them_are_details():
    graph = lm.trace(lambda x: x + np.arange(4, dtype=np.float32), lm.TensorSpec((3, 4)))
    nodes = page_data(Levels(graph), "add")["graphs"]["traced"]["nodes"]
    assert [node[0] for node in nodes if node[1] not in ("input", "output")] == ["add"]
    assert "f32[4]" in next(node[2] for node in nodes if node[0] == "add")


def test_loops_are_boxes_around_what_they_repeat():
    graph = lm.trace(lambda x: lm.while_loop(lambda v: lm.sum(v) < 9, lambda v: lm.exp(v), x), lm.TensorSpec((3,)))
    drawn = page_data(Levels(graph), "loop")["graphs"]["traced"]
    (box,) = drawn["boxes"]
    exp = next(i for i, node in enumerate(drawn["nodes"]) if node[0] == "exp")
    assert box[1] == "while" and drawn["nodes"][exp][5] == 0 and drawn["nodes"][-1][3] == [exp]


# ---- launches and memory ---------------------------------------------------------------------------------------------
def test_launches_have_their_operations_and_bytes(data, levels):
    launches = data["steps"]["launches"]
    products = [launch for launch in launches if launch["kind"] == "contraction"]
    assert [launch["flops"] >= 2 * 8 * 16 * 16 for launch in products] == [True, True]
    assert all(launch["bytes"] >= 4 * (8 * 16 + 16 * 16 + 8 * 16) for launch in products)
    assert len(launches) == len(levels.launches) and data["steps"]["kernels"] == [k.name for k in levels.program.kernels]


def test_what_was_measured_stands_beside_each_launch(levels):
    executable = Executable(compile_program(levels.program, levels.target))
    arrays = [np.ones(spec.shape, spec.dtype) for spec in executable.inputs]
    roofline = Roofline({"float32": 1e11, "float64": 5e10}, ((1 << 15, 1e11), (1 << 27, 1e10)))
    profile = executable.profile(*arrays, seconds=0.02, roofline=roofline)
    data = page_data(levels, "block", profile)
    measured = data["profile"]["launches"]
    assert len(measured) == len(data["steps"]["launches"]) and all(row["seconds"] > 0 and row["share"] > 0 for row in measured)
    assert [row["flops"] for row in measured] == [launch["flops"] for launch in data["steps"]["launches"]]
    assert data["profile"]["roofline"] == {"flops": 1e11, "bandwidth": [[1 << 15, 1e11], [1 << 27, 1e10]]}
    assert "NaN" not in json.dumps(data)


def test_broadcast_reads_count_once():
    levels = Levels(lm.trace(lambda x, b: lm.exp(x) + b, lm.TensorSpec((64, 32)), lm.TensorSpec((32,))))
    (launch,) = page_data(levels, "bias")["steps"]["launches"]
    assert launch["bytes"] == 4 * (2 * 64 * 32 + 32)


def test_slots_lie_in_the_arena_and_are_live_together_without_overlap(data, levels):
    memory, count = data["steps"]["memory"], len(data["steps"]["launches"])
    assert (memory["arena"], memory["bound"]) == (levels.program.plan.arena_bytes, levels.program.plan.lower_bound) and memory["slots"]
    assert 0 <= memory["peak"] < count
    for i, (_, offset, size, first, last, _) in enumerate(memory["slots"]):
        assert 0 <= first <= last < count and 0 <= offset and offset + size <= memory["arena"]
        for _, other, other_size, begin, end, _ in memory["slots"][:i]:
            assert last < begin or end < first or offset + size <= other or other + other_size <= offset


def test_two_groups_of_one_line_and_label_are_told_apart():
    weights = [np.eye(n, dtype=np.float32) for n in (8, 8)]

    def stacked(x):
        for w in weights:
            x = lm.softmax(x @ w)
        return x
    levels = Levels(lm.trace(stacked, lm.TensorSpec((4, 8))))
    nodes = [node for _, node in levels.launches]
    assert None not in nodes and len(set(map(id, nodes))) == len(nodes)


def test_remarks_are_linked_to_what_they_name():
    marks, remarks = Marks(), Remarks()
    number = marks.origin("model.py:3 in f (inner)")
    remarks.add("fuse", "add (model.py:3 in f (inner))", False, "no reason (unknown)")
    assert remark_data(remarks, marks) == [["fuse", "add (model.py:3 in f (inner))", False, "no reason (unknown)", [number]]]


def test_a_model_that_does_not_compile_is_drawn_up_to_there(monkeypatch):
    import lamina.compiler.pipeline as pipeline
    stages = [pipeline.Stage(s.name, (lambda *_: 1 / 0) if s.name == "fuse" else s.run, s.form, s.reason) for s in pipeline.STAGES]
    monkeypatch.setattr(pipeline, "STAGES", tuple(stages))
    data = page_data(Levels(parse_graph("graph g(%x: f32[4]) -> (y) {\n  %0 = exp(%x)\n  return %0\n}\n")), "broken")
    assert set(data["graphs"]) == {"traced", "canonical"} and data["steps"] is None
    assert data["about"]["figures"] == [["operators", 1, ""]]
