"""Are graphs as JSON and DOT whole, and are levels computed as the driver computes them?"""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import LaminaError
from lamina.compiler.driver import compile_graph
from lamina.compiler.ops.op import REGISTRY
from lamina.frontends.report.dot import graph_dot, quoted
from lamina.frontends.report.json import graph_data, plain
from lamina.frontends.report.levels import STAGES, Levels


def looped():
    """A graph with symbolic dims, a loop, a large and a small constant, and a result of two names."""
    weights = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    return lm.trace(lambda x: {"y": lm.fori_loop(0, 3, lambda i, v: lm.tanh(v @ weights), x), "m": lm.where(x > 0, x, -np.inf).max(0)},
                    lm.TensorSpec(("batch=2..64%2", 9), name="x"))


# ---- JSON ------------------------------------------------------------------------------------------------------------
def test_json_is_whole():
    graph = looped()
    data = json.loads(json.dumps(graph_data(graph), allow_nan=False))
    assert data["symbols"] == [{"name": "batch", "lower": 2, "upper": 64, "multiple": 2}]
    assert data["inputs"] == [{"id": "%x", "name": "x", "dtype": "float32", "shape": ["batch", 9]}]
    assert [r["name"] for r in data["results"]] == list(graph.output_names) and len(data["nodes"]) == len(graph.nodes)
    known = {v["id"] for v in data["inputs"]}
    for node in data["nodes"]:
        assert set(node["operands"]) <= known and node["op"] in REGISTRY
        known |= {v["id"] for v in node["results"]}
    assert {r["id"] for r in data["results"]} <= known
    assert any(node["location"].get("file", "").endswith("test_data.py") for node in data["nodes"])


def test_ids_are_those_of_the_text():
    graph = looped()
    written = re.findall(r"^  (%\d+) = (\w+)", str(graph), re.MULTILINE)
    assert written == [(n["results"][0]["id"], n["op"]) for n in graph_data(graph)["nodes"]]


def test_graphs_inside_and_constants_by_digest():
    text = json.dumps(graph_data(looped()))
    assert '"graph": {' in text and '"digest"' in text and '"-inf"' in text
    large = [n["attributes"]["array"] for n in graph_data(looped())["nodes"] if n["op"] == "constant" and n["attributes"]["array"]["shape"] == [9, 9]]
    assert all("data" not in a for a in large)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_has_a_json_form(name):
    for sample in REGISTRY[name].samples()[:4]:
        attributes = {k: plain(v) for k, v in sample.op.attributes().items()}
        assert json.loads(json.dumps(attributes, allow_nan=False)) == attributes


# ---- DOT -------------------------------------------------------------------------------------------------------------
def test_dot_draws_every_node_and_graphs_as_clusters():
    graph = looped()
    text = graph_dot(graph)
    assert text.startswith('digraph "') and text.count("{") == text.count("}") and "subgraph cluster_" in text
    assert all(f'"{node.op.name}' in text for node in graph.nodes if node.op.name != "constant")
    boxes = set(re.findall(r"^\s*(n\d+) \[", text, re.MULTILINE))
    edges = re.findall(r"(n\d+) -> (n\d+)", text)
    assert edges and {name for edge in edges for name in edge} <= boxes


def test_dot_quotes_what_names_hold():
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


@pytest.mark.skipif(shutil.which("dot") is None, reason="no Graphviz here")
def test_graphviz_reads_it():
    assert b"<svg" in subprocess.run(["dot", "-Tsvg"], input=graph_dot(looped()).encode(), capture_output=True, check=True).stdout


# ---- levels ----------------------------------------------------------------------------------------------------------
def test_levels_are_those_of_the_driver():
    graph = looped()
    levels, artifact = Levels(graph), compile_graph(graph)
    for stage in ("traced", "canonical", "fused"):
        assert levels.text(stage) == str(artifact.texts[stage])
    assert [k.name for k in levels.program.kernels] == re.findall(r"^kernel (\w+)", artifact.texts["kernels"](), re.MULTILINE)
    assert set(levels.kernel_modules()) == {m for m in levels.modules if m.startswith("lamina_k_")}
    assert all(levels.text(stage) for stage in STAGES)


def test_kernels_that_do_the_same_share_a_module():
    graph = lm.trace(lambda x, y: (lm.exp(x), lm.exp(y)), lm.TensorSpec((7,)), lm.TensorSpec((7,)))
    levels = Levels(graph)
    names = levels.kernel_modules()
    assert len(names) == len(levels.program.kernels) and set(names) <= set(levels.modules)


def test_what_comes_before_a_failure_stays(monkeypatch):
    import lamina.compiler.pipeline as pipeline
    stages = [pipeline.Stage(s.name, (lambda *_: 1 / 0) if s.name == "fuse" else s.run, s.form, s.reason) for s in pipeline.STAGES]
    monkeypatch.setattr(pipeline, "STAGES", tuple(stages))
    levels = Levels(looped())
    assert "canonicalize" in levels.passes and "fuse" not in levels.passes
    with pytest.raises(LaminaError, match="'fuse' failed: ZeroDivisionError"):
        levels.text("fused")
    with pytest.raises(LaminaError, match="'fuse' failed"):
        levels.text("llvm")


def test_unknown_names_list_the_known_ones():
    levels = Levels(looped())
    with pytest.raises(LaminaError, match="no pass") as error:
        levels.after("nope")
    assert "canonicalize" in error.value.hint
    with pytest.raises(LaminaError, match="no stage"):
        levels.text("nope")
