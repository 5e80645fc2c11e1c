"""Is every stage written, and does compiling go on from each of them?"""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler import pipeline
from lamina.compiler.core.errors import CompilerError, FormatError, LaminaError
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.text import graph_constants, parse_graph, print_graph
from lamina.compiler.observer import Observer, Observers
from lamina.frontends.dump import DumpFolder, read_constants, read_graph, resume
from lamina.runtime.executable import Executable

from ..plan.programs import arrays_of, floats, models

PASSES = [stage.name for stage in pipeline.STAGES]
GRAPHS = ["traced", *PASSES]
STAGES = [*GRAPHS, "kernels", "program", "llvm", "asm"]
WEIGHTS = np.linspace(-1, 1, 8 * 12, dtype=np.float32).reshape(8, 12)


def layer(x):
    return lm.softmax(lm.matmul(x, WEIGHTS), axis=-1)


@pytest.fixture
def dumped(tmp_path):
    """A folder with the stages of a layer, its graph, and an input."""
    graph = lm.trace(layer, lm.TensorSpec(("batch", 8), "float32", "x"), dims={"batch": (1, 16)})
    folder = tmp_path / "stages"
    lm.compile(graph, options=lm.Options(dump=str(folder)))
    return folder, graph, np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)


def test_every_stage_is_written(dumped):
    folder, graph, _ = dumped
    suffixes = {"kernels": "txt", "program": "txt", "llvm": "ll", "asm": "s"}
    names = {f"{i:02}-{name}.{suffixes.get(name, 'lamina')}" for i, name in enumerate(STAGES)}
    assert {p.name for p in folder.iterdir()} == {*names, "constants.npz", "remarks.txt"}
    assert (folder / "00-traced.lamina").read_text() == str(graph)
    assert "[fuse]" in (folder / "remarks.txt").read_text()
    texts = {name: next(folder.glob(f"??-{name}.*")).read_text() for name in STAGES}
    assert texts["kernels"].startswith("kernel k0_")
    assert texts["program"].startswith("program layer symbols(batch=1..16) {")
    assert "define" in texts["llvm"] and "\t.text\n" in texts["asm"]


def test_a_written_graph_is_what_the_stage_left(dumped):
    folder, graph, x = dumped
    for name in GRAPHS:
        stage = read_graph(folder, name)
        assert str(stage) == next(folder.glob(f"??-{name}.lamina")).read_text()
        np.testing.assert_allclose(stage.evaluate(x)[0], graph.evaluate(x)[0], rtol=1e-6)


def test_constants_are_written_once(dumped):
    folder, graph, _ = dumped
    constants = read_constants(folder)
    (digest,) = graph_constants(graph)
    np.testing.assert_array_equal(constants[digest], WEIGHTS)
    assert len(constants) == 2, "the weights as they came, and packed"


@pytest.mark.parametrize("stage", GRAPHS)
def test_compiling_goes_on_from_any_graph(dumped, stage):
    folder, graph, x = dumped
    straight = compile_graph(graph)
    resumed = resume(folder, stage)
    assert resumed.objects == straight.objects
    np.testing.assert_array_equal(Executable(resumed)(x)[0], Executable(straight)(x)[0])


def test_compiling_goes_on_from_the_program(dumped):
    folder, graph, x = dumped
    resumed = resume(folder, "program")
    np.testing.assert_array_equal(Executable(resumed)(x)[0], lm.compile(graph)(x)[0])
    assert resumed.manifest["memory"] == compile_graph(graph).manifest["memory"]


def test_what_was_edited_is_compiled(dumped):
    folder, _, x = dumped
    (file,) = folder.glob("??-canonicalize.lamina")
    text = file.read_text()
    assert " = exp(" in text
    file.write_text(text.replace(" = exp(", " = neg("))
    (got,) = Executable(resume(folder, "canonicalize"))(x)
    logits = x @ WEIGHTS
    shifted = -(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(got, shifted / shifted.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["digits", "scanned twice", "counted", "chosen", "attended"])
def test_models_go_on_from_their_last_graph(name, tmp_path):
    graph = models()[name]
    arrays = arrays_of(graph)
    straight = lm.compile(graph, options=lm.Options(dump=str(tmp_path)))
    for stage in (PASSES[-1], "fuse", "program"):
        for a, b in zip(Executable(resume(tmp_path, stage))(*arrays), straight(*arrays), strict=True):
            np.testing.assert_array_equal(a, b)


def test_stages_that_are_not_there_are_named(dumped):
    folder, graph, _ = dumped
    with pytest.raises(FormatError, match="holds no stage 'fused'\n  hint: it holds traced, inline"):
        resume(folder, "fused")
    with pytest.raises(LaminaError,
                       match="no stage is called 'fused'\n  hint: there are, in this order: traced, inline"):
        compile_graph(graph, after="fused")


def test_a_compilation_that_fails_leaves_the_stages_before(tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no")
    monkeypatch.setattr(pipeline, "STAGES",
                        tuple(replace(s, run=fail) if s.name == "fuse" else s for s in pipeline.STAGES))
    with pytest.raises(CompilerError, match="stage 'fuse' failed: RuntimeError: no"):
        lm.compile(layer, floats(3, 8), options=lm.Options(dump=str(tmp_path)))
    written = sorted(p.stem[3:] for p in tmp_path.glob("??-*"))
    assert written == sorted(["traced", *PASSES[:PASSES.index("fuse")]])
    monkeypatch.undo()
    resumed = resume(tmp_path, PASSES[PASSES.index("fuse") - 1])
    assert resumed.objects == compile_graph(lm.trace(layer, floats(3, 8))).objects


def test_a_second_dump_replaces_the_first(tmp_path):
    for function in (layer, lambda x: x + 1):
        lm.compile(function, floats(3, 8), options=lm.Options(dump=str(tmp_path)))
    assert len(list(tmp_path.glob("??-*"))) == len(STAGES)
    assert not (tmp_path / "constants.npz").exists() and " = add(" in (tmp_path / "00-traced.lamina").read_text()


def test_constants_of_any_dtype_come_back(tmp_path):
    from lamina.compiler.core.dtypes import as_dtype
    from lamina.compiler.graph.builder import Builder
    builder = Builder("constants", fold=False)
    names = ("bfloat16", "float16", "float64", "int8", "uint64", "bool")
    arrays = [(np.arange(100).reshape(4, 25) % 7).astype(as_dtype(name).numpy) for name in names]
    graph = builder.finish([builder.constant(a) for a in arrays])
    write = DumpFolder(tmp_path)
    write("traced", print_graph(graph), graph_constants(graph))
    assert parse_graph((tmp_path / "00-traced.lamina").read_text(), read_constants(tmp_path)) == graph
    assert write.files == ["00-traced.lamina"]


def test_observers_see_every_stage_in_order():
    seen = []

    class Watcher(Observer):
        def graph(self, name, graph):
            seen.append(name)

        def program(self, program):
            seen.append("program")

        def modules(self, modules):
            seen.append("modules")

        def artifact(self, artifact):
            seen.append("artifact")
    everyone = Observers([Watcher(), Observer(), Watcher()])
    for show, argument in ((everyone.program, None), (everyone.modules, {}), (everyone.artifact, None)):
        show(argument)
    everyone.graph("traced", None)
    assert seen == ["program"] * 2 + ["modules"] * 2 + ["artifact"] * 2 + ["traced"] * 2
    names = []
    compile_graph(lm.trace(layer, floats(3, 8)), write=lambda name, text, arrays: names.append(name))
    assert [n for n in names if n != "remarks"] == STAGES
