"""Do models of every kind become executables, artifacts and text, and is what can't be named?"""

import numpy as np
import pytest

import lamina as lm

X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.ones((3, 2), np.float32)


def dense(x, w):
    return lm.tanh(x @ w) * 2


def test_functions_compile_to_flat_executables():
    exe = lm.compile(dense, lm.TensorSpec(("batch=1..8", 3)), W)
    (y,) = exe(X, W)
    np.testing.assert_allclose(y, np.tanh(X @ W) * 2, rtol=1e-5)
    assert [s.name for s in exe.inputs] == ["x", "w"] and exe.inputs[0].shape == ("batch", 3)
    np.testing.assert_allclose(exe.run({"w": W, "x": X[:1]})["out0"], np.tanh(X[:1] @ W) * 2, rtol=1e-5)
    np.testing.assert_allclose(lm.compile(dense, *exe.inputs)(X, W)[0], y)


def test_graphs_and_their_text_compile():
    graph = lm.trace(dense, X, W)
    again = lm.parse(str(graph))
    assert again == graph
    np.testing.assert_allclose(lm.compile(again)(X, W)[0], np.tanh(X @ W) * 2, rtol=1e-5)
    symbolic = lm.trace(dense, lm.TensorSpec(("n", 3)), W)
    exe = lm.compile(symbolic, dims={"n": 2})
    assert exe.inputs[0].shape == (2, 3)
    with pytest.raises(lm.ShapeError, match="dims declares 'm'"):
        lm.compile(symbolic, dims={"m": 2})


def test_artifacts_are_saved_and_loaded(tmp_path):
    exe = lm.compile(dense, X, W)
    exe.save(tmp_path / "m.lam")
    for loaded in (lm.load(tmp_path / "m.lam"), lm.compile(tmp_path / "m.lam")):
        np.testing.assert_array_equal(loaded(X, W)[0], exe(X, W)[0])
    with pytest.raises(lm.LaminaError, match="is compiled already"):
        lm.compile(tmp_path / "m.lam", dims={"n": 3})
    with pytest.raises(lm.LaminaError, match="has its types already"):
        lm.compile(str(tmp_path / "m.lam"), X)


def test_onnx_models_compile(tmp_path):
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    kinds = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 3]) for n in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", kinds[:1], kinds[1:]), opset_imports=[
        onnx.helper.make_opsetid("", 21)])
    onnx.save(model, tmp_path / "m.onnx")
    for source in (model, model.SerializeToString(), tmp_path / "m.onnx"):
        np.testing.assert_array_equal(lm.compile(source, dims={"n": (1, 4)})(X - 3)[0], np.maximum(X - 3, 0))
    assert lm.onnx.load(model).input_names == ("x",)


def test_the_number_of_threads_is_one_limit_for_the_process(monkeypatch):
    import ctypes

    from lamina.runtime import cpu
    exe = lm.compile(dense, X, W)
    limit = ctypes.CFUNCTYPE(ctypes.c_int32)(cpu.support_function("lamina_max_threads"))
    before = limit()
    try:
        for n in (1, 2):
            lm.set_num_threads(n)
            assert limit() == n
            np.testing.assert_allclose(exe(X, W)[0], dense(X, W), rtol=1e-5)
    finally:
        lm.set_num_threads(before)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(lm.LaminaError, match="give a whole number from 1 on"):
            lm.set_num_threads(wrong)


@pytest.mark.parametrize("arguments, options, message", [
    (("model.pb",), {}, "'model.pb' is no model that lamina reads"),
    ((3,), {}, "int is no model that lamina knows"),
    ((dense, X, W), {"device": "tpu"}, "there is no device 'tpu'"),
    ((lm.trace(dense, X, W), X), {}, "a Graph has its types already, 1 were given"),
])
def test_what_can_not_be_compiled_is_named(arguments, options, message):
    with pytest.raises(lm.LaminaError, match=message):
        lm.compile(*arguments, **options)
