"""Do profile, memory, explain and compare say what is true of a model, as text and as JSON?"""

import json
from pathlib import Path

import pytest


# ---- profile ---------------------------------------------------------------------------------------------------------
def test_a_profile_by_every_key(lamina, digits):
    for by in ("kernel", "launch", "line", "layer"):
        ended = lamina("profile", digits, "--dim", "batch=2", "--min-time", "0", "--by", by)
        header = ended.out.splitlines()[0].split()
        assert ended.code == 0 and {"time", "%", "GFLOP/s", "GB/s",
                                    "roofline"} <= set(header) and "measuring costs" in ended.err, ended.err


def test_a_profile_as_json_with_a_trace(lamina, digits):
    data = lamina("profile", digits, "--dim", "batch=2", "--min-time", "0", "--threads", "1", "--trace", "t.json",
                  "--json").json
    assert data["threads"] == 1 and data["inputs"] == {"image": "float32[2, 1, 8, 8]"}
    assert data["roofline"]["flops"]["float32"] > 0
    assert all(r["count"] == 1 and r["seconds"] > 0 and r["share"] > 0 for r in data["launches"])
    conv = 2 * 2 * (64 * 9 * 16 + 64 * 9 * 16 * 32 + 16 * 9 * 32 * 64 + 256 * 10)
    assert conv < sum(r["flops"] for r in data["launches"]) < 1.1 * conv
    trace = json.loads(Path("t.json").read_text())
    assert len([e for e in trace["traceEvents"] if e.get("cat") == "kernel"]) == len(data["launches"])


def test_a_profile_of_a_function_is_by_its_lines(lamina):
    Path("net.py").write_text("import lamina as lm\ndef net(x):\n    y = x @ x\n    return lm.sort(y)\n")
    data = lamina("profile", "net.py:net", "--spec", "x=8,8", "--min-time", "0", "--json").json
    assert sorted(p["name"].rpartition("net.py")[2] for p in data["lines"]) == [":3 in net", ":4 in net"]
    assert [p["name"] for p in data["layers"]] == ["net"]


def test_a_saved_artifact_is_profiled(lamina, mlp):
    assert lamina("build", mlp, "-o", "m.lam").code == 0
    assert [r["label"] for r in lamina("profile", "m.lam", "--min-time", "0",
                                       "--json").json["launches"]] == ["contract+tanh"]


@pytest.mark.parametrize("words, code, message", [
    (("--trace", "nowhere/t.json"), 2, "no folder nowhere"), (("--top", "-1"), 2, "--top is -1"),
    (("--depth", "2"), 2, "--by layer"),
    (("-i", "x=3x5xf32=rand"), 2, "(x: float32[batch, 6])"), (("--max-memory", "0"), 0, "")])
def test_what_a_profile_refuses(lamina, mlp, words, code, message):
    ended = lamina("profile", mlp, "--min-time", "0", *words)
    assert ended.code == code and message in ended.err


def test_a_model_that_fails_half_way_leaves_no_trace_file(lamina, mlp, monkeypatch):
    from lamina.runtime.executable import Executable

    def fail(*_, **__):
        raise MemoryError("Unable to allocate 4.00 TiB")
    monkeypatch.setattr(Executable, "profile", fail)
    ended = lamina("profile", mlp, "--trace", "t.json", "--json")
    assert ended.code == 4 and "Unable to allocate" in ended.err and not Path("t.json").exists()
    assert ended.json["error"]["type"] == "MemoryError"


# ---- memory ----------------------------------------------------------------------------------------------------------
def test_memory_as_text_json_and_svg(lamina, digits):
    ended = lamina("memory", digits, "--dim", "batch=2", "--svg", "a.svg")
    assert ended.code == 0 and "arena:" in ended.out and "live at the peak" in ended.out and "▼ step" in ended.out
    data = lamina("memory", digits, "--dim", "batch=2", "--json").json
    assert data["arena_bytes"] == data["lower_bound"] == sum(s["bytes"] for s in data["owners"])
    assert Path("a.svg").read_text().count("<title>") >= len(data["slots"])
    assert lamina("memory", digits, "--dim", "batch=2", "--svg", "-").out == Path("a.svg").read_text()


def test_memory_of_an_artifact_for_another_machine(lamina, mlp):
    assert lamina("build", mlp, "-o", "m.lam", "--target", "aarch64").code == 0
    ended = lamina("memory", "m.lam")
    assert ended.code == 0 and "outputs: 768 bytes" in ended.out, ended.err
    assert lamina("memory", "m.lam", "--no-fuse").code == 2


def test_memory_on_a_terminal(capsys, lamina, mlp):
    from lamina.frontends.cli.commands.memory import draw
    from lamina.runtime.memory import MemoryReport
    slot = {"label": "a", "offset": 0, "bytes": 64, "first": 1, "last": 1, "location": ""}
    draw(MemoryReport({"name": "m", "launches": [], "cost": {"weight_bytes": 0, "input_bytes": 0, "output_bytes": 0},
                       "memory": {"arena_bytes": 64, "lower_bound": 64, "peak_step": 1, "slots": [slot]}}), None)
    assert "64 bytes* █" in capsys.readouterr().out


# ---- explain ---------------------------------------------------------------------------------------------------------
NET = """import lamina as lm
def net(x, w):
    y = lm.tanh(x @ w)
    z = lm.reshape(y, (2, -1))
    return lm.sum(lm.exp(z), axis=1), y @ w
"""


@pytest.fixture
def net(lamina):
    Path("net.py").write_text(NET)
    return lambda *words: lamina("explain", "net.py:net", "--spec", "x=8,64", "--spec", "w=64,64", *words)


def test_every_kernel_in_a_line_and_what_was_refused(net):
    ended = net()
    assert ended.code == 0 and "register tiles" in ended.out and "not fused because" in ended.out
    data = net("--json").json
    assert [k["ops"] for k in data["kernels"]] == [["contract", "tanh"], ["exp", "reduce"], ["contract"]]
    assert "a contraction begins a kernel of its own" in data["refusals"]


def test_a_kernel_says_what_is_in_it_and_why_no_more(net):
    kernel, = net("k0", "--json").json["answers"][0]["kernels"]
    assert kernel["ops"] == ["contract", "tanh"] and kernel["group"] == "contraction" and kernel["launches"] == 1
    assert kernel["flops"] == 2 * 8 * 64 * 64 + 8 * 64
    assert [r["reason"] for r in kernel["decisions"]] == ["2 operators in one contraction kernel"]
    assert "a contraction begins a kernel of its own" in {r["reason"] for r in kernel["not_fused"]}
    taken, *others = kernel["tiles"]
    assert taken["relative"] == 1 and others and [t["cycles"] for t in others] == sorted(t["cycles"] for t in others)
    assert [p["role"] for p in kernel["places"]] == ["in", "in", "out"]
    text = net("k0").out
    assert "would take" in text and "lanes" in text and "net.py:3 in net" in text and "f32[8, 64]" in text


@pytest.mark.parametrize("what, kernels", [("net.py:5", [["exp", "reduce"], ["contract"]]),
                                           ("tanh", [["contract", "tanh"]]),
                                           ("out1", [["contract"]]), ("%x", [["contract", "tanh"]]),
                                           ("x", [["contract", "tanh"]])])
def test_nodes_and_values_lead_to_their_kernels(net, what, kernels):
    data, = net(what, "--json").json["answers"]
    assert [k["ops"] for k in data["kernels"]] == kernels
    assert net(what).code == 0


def test_only_what_was_asked_is_remarked_on(net):
    assert all("exp" in r["subject"] or "reduce" in r["subject"]
               for k in net("exp", "--json").json["answers"][0]["kernels"] for r in k["not_fused"])


def test_a_view_needs_no_kernel(net):
    ended = net("reshape")
    assert ended.code == 0 and "no kernel: reshape says where elements lie" in ended.out


def test_what_was_folded_is_said(lamina):
    Path("net.py").write_text("import lamina as lm\ndef net(x):\n    a = lm.exp(lm.ones((3,)))\n    b = x * 1\n"
                              "    return lm.sin(b) + a\n")
    ended = lamina("explain", "net.py:net", "exp", "--spec", "x=3")
    assert ended.code == 0 and "it was folded, or merged into what follows it, add (" in ended.out
    ended = lamina("explain", "net.py:net", "sin", "--spec", "x=3")
    assert ended.code == 0 and "computes   sin, add" in ended.out


def test_names_that_are_not_there_get_a_hint(net):
    ended = net("tahn")
    assert ended.code == 2 and "did you mean tanh?" in ended.err


def test_an_onnx_node_is_found_by_its_name(lamina, digits):
    data, = lamina("explain", digits, "conv1", "--json").json["answers"]
    assert data["kind"] == "node" and data["kernels"] and "conv" in data["kernels"][0]["ops"]


def test_a_line_with_many_kernels_shows_some(lamina):
    Path("net.py").write_text("import lamina as lm\ndef net(x):\n    for i in range(25):\n        x = lm.tanh(x @ x + i)\n"
                              "    return x\n")
    ended = lamina("explain", "net.py:net", "net.py:4", "--spec", "x=4,4")
    assert ended.code == 0 and ended.out.count("\nkernel k") == 20 and "and 5 more kernels" in ended.out


def test_why_a_function_was_traced_again(lamina):
    Path("net.py").write_text("import lamina as lm, numpy as np\n@lm.jit\ndef f(x):\n    return x + 1\n"
                              "f(np.ones(3))\nf(np.ones(4))\n")
    ended = lamina("explain", "net.py:f", "--retraces")
    assert ended.code == 0 and "trace 2: shape of x changed from [3] to [4]" in ended.out
    assert len(lamina("explain", "net.py:f", "--retraces", "--json").json["retraces"]) == 2
    assert lamina("explain", "net.py:f", "x", "--retraces").code == 2 and lamina("explain", "net.py",
                                                                                 "--retraces").code == 2


# ---- alternatives ----------------------------------------------------------------------------------------------------
def test_the_estimate_counts_whole_tiles():
    import lamina as lm
    from lamina.compiler.plan.place import place_buffer
    from lamina.compiler.targets.find import find_target
    from lamina.compiler.templates.alternatives import tile_costs
    from lamina.frontends.report.levels import Levels
    graph = lm.trace(lambda x, w: x @ w, lm.TensorSpec((60, 32)), lm.TensorSpec((32, 64)))
    levels = Levels(graph, lm.Options(target="x86-64-v3"))
    launch, = levels.program.steps
    buffers = [place_buffer(f"b{i}", p, "in") for i, p in enumerate(launch.places)]
    taken, *others = tile_costs(launch.group.body, buffers[:2], buffers[2:], find_target("x86-64-v3"), (6, 16))
    assert (taken.rows, taken.columns, taken.cycles) == (6, 16,
                                                         10 * 4 * 32 * 6), "6 x 2 vectors: 12 multiply-adds, 6 cycles"
    assert (6, 16) not in {(c.rows, c.columns) for c in others} and all(c.cycles >= taken.cycles for c in others)


# ---- compare ---------------------------------------------------------------------------------------------------------
PAIR = """import lamina as lm
def f(x):
    return lm.tanh(x @ x) + 3
def g(x):
    return lm.tanh(x @ x) * 1.0001 + 3
def h(x):
    return lm.tanh(x @ x) * 2 + 3
"""


@pytest.fixture
def pair(lamina):
    Path("pair.py").write_text(PAIR)
    return lambda *words: lamina("compare", *words, "--spec", "x=8,8", "--min-time", "0")


def test_two_functions_differ_where_they_do(pair):
    ended = pair("pair.py:f", "pair.py:h")
    assert ended.code == 1 and "+ mul -> f32[8, 8]" in ended.out and "- 1 launch of contract+tanh+add" in ended.out
    assert "out0 differs at --rtol" in ended.err
    data = pair("pair.py:f", "pair.py:g", "--json").json
    (output,) = data["outputs"]
    assert data["ok"] and 0 < output["relative_difference"] < 1e-3
    assert data["graph"]["ops"]["mul"] == [0, 1] and data["time"] is None


def test_options_of_one_side(pair):
    ended = pair("pair.py:f", "--options-b", "fuse=false", "--json")
    data = ended.json
    assert ended.code == 0 and data["graph"]["same"] and data["kernels"]["removed"] == {"contract+tanh+add": 1}
    assert (data["a"]["launches"], data["b"]["launches"]) == (1, 3) and data["b"]["options"] == ["fuse=false"]


def test_artifacts_compare_without_their_graphs(lamina, pair, mlp):
    assert lamina("build", mlp, "-o", "m.lam").code == 0
    ended = lamina("compare", "m.lam", mlp, "--min-time", "0.02")
    assert ended.code == 0 and "an artifact has none" in ended.out and "kernels: the same" in ended.out
    assert "time, median" in ended.out and "95 % confidence" in ended.out


@pytest.mark.parametrize("words, message", [
    (("pair.py:f",), "to be compared with what"), (("pair.py:f", "pair.py:g", "pair.py:h"), "3 models"),
    (("pair.py:f", "--options-b", "fast=true"), "no compile option"),
    (("pair.py:f", "--options-b", "fuse=maybe"), "can't read the compile option"),
    (("pair.py:f", "--options-b", "max_memory=0", "--options-a", "check=never"), "Options.check")])
def test_what_compare_refuses(pair, words, message):
    ended = pair(*words)
    assert ended.code == 2 and message in ended.err


def test_models_of_other_arguments_do_not_compare(lamina, digits, mlp):
    ended = lamina("compare", mlp, digits, "--min-time", "0")
    assert ended.code == 2 and "takes 2 inputs" in ended.err


def test_options_are_read_by_their_types():
    from lamina import Options
    from lamina.frontends.cli.model import with_options
    options = with_options(Options(), ["fuse=0", "max-memory=1KiB", "target=x86-64-v2", "dump=none"])
    assert (options.fuse, options.max_memory, options.target, options.dump) == (False, 1024, "x86-64-v2", None)
