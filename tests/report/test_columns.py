"""Do the columns of the stages link what belongs together?"""

import re

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.graph.text import parse_graph
from lamina.frontends.report.html import page_data
from lamina.frontends.report.levels import STAGES, Levels

MLP = """\
graph mlp(%x: f32[batch, 6], %w: f32[6, 3]) -> (y) symbols(batch=1..64) {
  %0 = contract(%x, %w) {spec="mk,kn->mn"}  # model.py:3 in forward
  %1 = tanh(%0)  # model.py:4 in forward
  return %1
}
"""


@pytest.fixture(scope="module")
def levels():
    return Levels(parse_graph(MLP))


@pytest.fixture(scope="module")
def data(levels):
    return page_data(levels, "mlp")


def spans(data, stage, text):
    """The mark names of every span of `stage` that shows `text`, block by block."""
    found = []
    for block in next(s for s in data["stages"] if s["name"] == stage)["blocks"]:
        for line, _, parts in block["lines"]:
            for start, length, marks in zip(parts[::3], parts[1::3], parts[2::3]):
                if line[start:start + length] == text:
                    found.append([data["marks"]["names"][m] for m in marks])
    return found


def lines_marked(data, stage, mark):
    number = data["marks"]["names"].index(mark)
    return [line[0] for s in data["stages"] if s["name"] == stage for b in s["blocks"] for line in b["lines"] if number in line[1]]


def test_all_stages_are_there(data):
    assert [s["name"] for s in data["stages"]] == list(STAGES) and all(s["blocks"][0]["lines"] for s in data["stages"])


def test_a_value_carries_one_mark_where_it_is_made_and_read(data):
    made, read = spans(data, "traced", "%0")
    assert made == read and made[0].startswith("v") and made[1].startswith("w")
    assert spans(data, "traced", "%1")[0] != made


def test_values_of_one_operator_and_origin_are_linked_across_stages(data):
    (made, _), own = spans(data, "traced", "%0"), [m for m in spans(data, "fused", "%0")]
    assert made[1] in {marks[1] for marks in own if len(marks) == 2} and made[0] not in {marks[0] for marks in own}
    assert spans(data, "traced", "%x")[0][1] == spans(data, "fused", "%x")[0][1]


def test_lines_carry_their_origin(data):
    origin = data["marks"]["origins"].index("model.py:3 in forward")
    assert lines_marked(data, "traced", f"l{origin}") == ['  %0 = contract(%x, %w) {spec="mk,kn->mn"} : f32[batch, 3]  # model.py:3 in forward']
    assert any("contract" in line for line in lines_marked(data, "fused", f"l{origin}"))


def test_a_kernel_is_linked_from_its_group_to_its_code(levels, data):
    assert any("fused(" in line for line in lines_marked(data, "fused", "k0"))
    names = data["marks"]["names"]
    name, number = levels.program.kernels[0].name, names.index("k0")
    assert ["k0"] in spans(data, "kernels", name)
    for stage in ("kernels", "llvm", "asm"):
        block = next(s for s in data["stages"] if s["name"] == stage)["blocks"][0]
        origins = {data["marks"]["origins"][int(names[m][1:])] for m in block["marks"] if names[m].startswith("l")}
        assert number in block["marks"] and origins == {"model.py:3 in forward", "model.py:4 in forward"}


def test_scopes_of_inner_graphs_are_apart(data):
    made, inner_made, inner_read, returned = (marks[0] for marks in spans(data, "fused", "%0"))
    assert made == returned != inner_made == inner_read


def test_inner_graphs_fold(data):
    block = next(s for s in data["stages"] if s["name"] == "fused")["blocks"][0]
    first, last = block["folds"]
    assert block["closed"] == [] and "fused(" in block["lines"][first][0] and block["lines"][last][0].startswith("  }")


def test_spans_lie_in_lines_however_long_they_are():
    weights = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    graph = lm.trace(lambda *xs: lm.concatenate([x @ weights for x in xs]), *[lm.TensorSpec((2, 8))] * 60)
    for stage in page_data(Levels(graph), "long")["stages"]:
        for block in stage["blocks"]:
            for text, _, parts in block["lines"]:
                assert len(text) <= 400
                assert all(re.fullmatch(r'[%\w."]+', text[s:s + n]) for s, n in zip(parts[::3], parts[1::3]))


def test_runs_of_constants_are_folded_at_first():
    weights = [np.full((4,), i, np.float32) for i in range(6)]
    graph = lm.trace(lambda x: sum((x * w for w in weights), x), lm.TensorSpec((4,)))
    block = page_data(Levels(graph), "sum")["stages"][0]["blocks"][0]
    for first in block["closed"]:
        last = block["folds"][block["folds"].index(first) + 1]
        assert all(" = constant {" in line[0] for line in block["lines"][first:last]) and last - first >= 4


def test_loops_fold():
    loop = lm.trace(lambda x: lm.fori_loop(0, 3, lambda i, v: lm.tanh(v) + x, x), lm.TensorSpec((4,)))
    stages = page_data(Levels(loop), "loop")["stages"]
    assert all(stage["blocks"][0]["lines"] for stage in stages) and len(stages[0]["blocks"][0]["folds"]) >= 2


def test_a_stage_that_fails_shows_its_error(levels, monkeypatch):
    broken = Levels(parse_graph(MLP))
    monkeypatch.setattr(Levels, "modules", property(lambda self: (_ for _ in ()).throw(ValueError("no code today"))))
    stages = {s["name"]: s for s in page_data(broken, "broken")["stages"]}
    assert stages["llvm"]["blocks"][0]["lines"] == [["no code today", [], []]] and len(stages["kernels"]["blocks"][0]["lines"]) > 5


def test_forward_and_backward_code_of_a_line_share_its_mark():
    def loss(x):
        return lm.sum(lm.tanh(x))
    levels = Levels(lm.trace(lm.grad(loss), lm.TensorSpec((3,))))
    data = page_data(levels, "gradient")
    assert any("backward of tanh at " in line[0] for line in data["stages"][0]["blocks"][0]["lines"])
    assert data["marks"]["origins"] and not any("backward" in origin for origin in data["marks"]["origins"])


def test_a_line_that_is_repeated_carries_each_kernel_once():
    """A model of equal layers on one line is a page whose size grows as they do, and not as their square."""
    weight = np.eye(8, dtype=np.float32)

    def deep(x):
        for _ in range(40):
            x = lm.softmax(lm.tanh(x @ weight) + x)
        return x
    blocks = [block for stage in page_data(Levels(lm.trace(deep, lm.TensorSpec((4, 8)))), "deep")["stages"]
              for block in stage["blocks"]]
    assert max(len(marks) for block in blocks for _, marks, _ in block["lines"]) < 12
