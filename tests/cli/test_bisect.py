"""Does `lamina bisect` say what is wrong, in words, in JSON and by its exit code?"""

import numpy as np
import pytest

from lamina.compiler.ops.elementwise import Tanh


def test_a_right_model(lamina, mlp, digits):
    ended = lamina("bisect", mlp, "--dim", "batch=3")
    assert ended.code == 0 and ended.out.startswith("agrees with the reference (f64): y ")
    data = lamina("bisect", digits, "--reference", "interpreter", "-i", "image=2x1x8x8xf32=rand:7", "--json").json
    assert data["agrees"] is True and data["finding"] is None and data["outputs"] == ["logits"] and data["largest_ulps"][0] < 1000


def test_a_wrong_kernel(lamina, mlp, monkeypatch):
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    ended = lamina("bisect", mlp)
    assert ended.code == 1 and "computes a wrong value" in ended.out and "model.py:4 in forward" in ended.out and "ulp" in ended.out
    ended = lamina("bisect", mlp, "--json")
    finding = ended.json["finding"]
    assert ended.code == 1 and finding["stage"] == "kernel" and finding["launch"] == 1 and "tanh" in finding["operator"]
    assert finding["difference"]["wrong"] > 0 and finding["difference"]["expected"] != finding["difference"]["got"]


def test_outputs_from_elsewhere(lamina, mlp):
    x, w = np.random.default_rng(0).standard_normal((2, 6)).astype("f4"), np.ones((6, 3), "f4")
    np.savez("in.npz", x=x, w=w)
    np.savez("good.npz", y=np.tanh(x @ w))
    np.save("bad.npy", np.tanh(x @ w) + 1)
    np.savez("other.npz", z=x)
    assert lamina("bisect", mlp, "in.npz", "--expect", "good.npz").code == 0
    ended = lamina("bisect", mlp, "in.npz", "--expect", "bad.npy")
    assert ended.code == 1 and "differs from the reference" in ended.out
    ended = lamina("bisect", mlp, "in.npz", "--expect", "other.npz")
    assert ended.code == 2 and "none of them is an output" in ended.err


def test_onnxruntime(lamina, digits, mlp):
    ended = lamina("bisect", mlp, "--reference", "onnxruntime")
    assert ended.code == 2 and ".onnx" in ended.err
    pytest.importorskip("onnxruntime")
    assert lamina("bisect", digits, "--reference", "onnxruntime", "--dim", "batch=2").code == 0
    assert lamina("bisect", digits, "--target", "aarch64-linux").code == 2


def test_a_case_that_is_kept_is_wrong_again(lamina, mlp, monkeypatch):
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: x)
    ended = lamina("bisect", mlp, "--dim", "batch=5", "--save", "case", "--json")
    again = ended.json["again"].split()
    assert again[:2] == ["lamina", "bisect"] and "to see it again" in ended.err
    assert "computes a wrong value" in lamina(*again[1:]).out and "wrong value" in open("case/finding.txt").read()
