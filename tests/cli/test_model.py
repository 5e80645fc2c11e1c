"""Which models can be named?  ONNX files, artifacts, graph text with its constants, functions, standard input."""

import io
import sys

import numpy as np
import pytest

import lamina as lm
from lamina.frontends.cli.model import read_text

SOURCE = '''\
import numpy as np
import lamina as lm

W = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
SIZE = 3
GRAPH = lm.trace(lm.exp, lm.TensorSpec((5,)))

def layer(x):
    return lm.tanh(x @ W)

@lm.jit
def pair(x, y):
    return {"sum": x + y, "product": x * y}

def wrong(x):
    return x @ W @ W

def broken(x):
    raise KeyError("no such key")

def text(x):
    return "hello"
'''


@pytest.fixture
def module(lamina, tmp_path):
    path = tmp_path / "work" / "module.py"
    path.write_text(SOURCE)
    return path


def test_a_function_is_traced_for_its_specs(lamina, module):
    data = lamina("info", f"{module}:layer", "--spec", "x=batch,4,f32", "--dim", "batch=1..8", "--json").json
    assert data["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "text": "f32[batch, 4]"}]
    assert data["dims"] == {"batch": "1..8"} and data["parameters"] == 12


def test_a_jit_function_and_a_dtype_that_is_left_out(lamina, module):
    data = lamina("run", f"{module}:pair", "--spec", "x=3", "--spec", "y=3", "-i", "x=range", "-i", "y=2", "--json").json
    assert {(o["name"], o["max"]) for o in data["outputs"]} == {("sum", 4.0), ("product", 4.0)}


def test_a_graph_in_a_module(lamina, module):
    assert lamina("check", f"{module}:GRAPH").code == 0


@pytest.mark.parametrize("name, expected", [
    ("layr", "did you mean 'layer'?"), ("SIZE", "is a int, not a function"), ("wrong", "module.py:16 in wrong"),
    ("broken", "KeyError: 'no such key'\n  at "), ("text", "module.py:21 in text")])
def test_functions_that_do_not_work(lamina, module, name, expected):
    ended = lamina("check", f"{module}:{name}", "--spec", "x=batch,4")
    assert ended.code == 2 and expected in ended.err


def test_a_function_without_specs_asks_for_them(lamina, module):
    ended = lamina("check", f"{module}:layer")
    assert ended.code == 2 and "--spec x=" in ended.err


@pytest.mark.parametrize("source, expected", [("import nothing_of_this_name\n", "nothing_of_this_name"), ("def f(x:\n", "SyntaxError"),
                                              ("import sys\nsys.exit(3)\n", "SystemExit")])
def test_a_module_that_can_not_be_imported(lamina, tmp_path, source, expected):
    (tmp_path / "bad.py").write_text(source)
    ended = lamina("check", f"{tmp_path}/bad.py:f")
    assert ended.code == 2 and "can't be imported" in ended.err and expected in ended.err


def test_spec_is_for_functions(lamina, mlp):
    assert lamina("info", mlp, "--spec", "x=3").code == 2


def test_text_finds_its_constants_beside_it(lamina, tmp_path):
    import ml_dtypes
    weights = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    graph = lm.trace(lambda x: (x @ weights, weights[:, 0].astype(ml_dtypes.bfloat16)), lm.TensorSpec((2, 16)))
    narrow = lm.trace(lambda x: x + weights.astype(ml_dtypes.bfloat16), lm.TensorSpec((16, 8), "bfloat16"))
    for name, g in (("model", graph), ("narrow", narrow)):
        (tmp_path / f"{name}.lamina").write_text(str(g))
        missing = lamina("info", tmp_path / f"{name}.lamina")
        assert missing.code == 2 and "constants that were not given" in missing.err
        lm.compile(g, options=lm.Options(dump=str(tmp_path / name)))
        assert read_text(str(tmp_path / name / "00-traced.lamina")) == g
        assert lamina("info", tmp_path / name / "00-traced.lamina").code == 0


def test_standard_input_holds_a_model(lamina, mlp, digits, monkeypatch):
    for path, name in ((mlp, "mlp"), (digits, "digits")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert lamina("info", "-").out.startswith(f"model: {name} (-)")


def test_an_artifact_is_run_and_described_but_not_compiled_again(lamina, mlp):
    assert lamina("build", mlp, "-o", "mlp.lam", "-q").code == 0
    data = lamina("info", "mlp.lam", "--json").json
    assert data["kind"] == "artifact" and data["dims"] == {"batch": "1..64"} and data["kernels"] == 1
    assert lamina("run", "mlp.lam", "-i", "x=rand", "-i", "w=rand").code == 0
    assert lamina("check", "mlp.lam").out.startswith("ok: mlp.lam")
    for words in (("check", "mlp.lam", "--dim", "batch=3"), ("ir", "mlp.lam"), ("run", "mlp.lam", "--no-fuse")):
        ended = lamina(*words)
        assert ended.code == 2 and "compiled" in ended.err


def test_dims_of_text_are_declared(lamina, mlp):
    assert lamina("info", mlp, "--dim", "batch=8..32%8", "--json").json["dims"] == {"batch": "8..32%8"}
    assert lamina("info", mlp, "--dim", "batch=4", "--json").json["inputs"][0]["shape"] == [4, 6]
