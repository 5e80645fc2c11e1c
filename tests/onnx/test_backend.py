"""Does the ONNX Backend API work over compiled models: prepare, run, run_node, devices, inputs that decide shapes?"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import lamina as lm  # noqa: E402
from lamina.compiler.core.errors import UnsupportedError  # noqa: E402
from lamina.frontends.onnx import backend  # noqa: E402

from .models import FLOAT, INT64, floats, model, node  # noqa: E402

MLP = model([node("Gemm", "x,w,b", "h", transB=1), node("Relu", "h", "y")], {"x": [3, 8]}, ["h", "y"],
            {"w": floats(5, 8), "b": floats(5)})
RESHAPE = model([node("Reshape", "x,shape", "y")], {"x": [2, 6], "shape": (INT64, [None])}, ["y"])


def expected():
    h = floats(3, 8) @ floats(5, 8).T + floats(5)
    return h, np.maximum(h, 0)


def test_it_is_found_from_the_package():
    assert lm.onnx.backend is backend and lm.onnx.backend.LaminaBackend.supports_device("CPU")


def test_prepare_and_run():
    prepared = backend.prepare(MLP)
    for inputs in ([floats(3, 8)], {"x": floats(3, 8)}):
        results = prepared.run(inputs)
        assert results._fields == ("h", "y")
        for got, want in zip(results, expected()):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(results["y"], results.y)


def test_run_model_keeps_symbolic_dims():
    proto = model([node("Exp", "x", "y")], {"x": (FLOAT, ["n", 3])}, ["y"])
    prepared = backend.prepare(proto, dims={"n": (1, 8)})
    for n in (1, 5):
        np.testing.assert_allclose(prepared.run([floats(n, 3)]).y, np.exp(floats(n, 3)), rtol=1e-5)


def test_run_node():
    add = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    np.testing.assert_array_equal(backend.run_node(add, [floats(2, 3), floats(3)])[0], floats(2, 3) + floats(3))
    clip = onnx.helper.make_node("Clip", ["a"], ["b"], min=0.0)
    np.testing.assert_array_equal(backend.run_node(clip, [floats(5)], opset_version=6)[0], np.maximum(floats(5), 0))


def test_an_input_that_decides_a_shape():
    prepared = backend.prepare(RESHAPE)
    for shape in ((3, 4), (12,), (4, -1), (3, 4)):
        got = prepared.run([floats(2, 6), np.array(shape)]).y
        np.testing.assert_array_equal(got, floats(2, 6).reshape(shape))
    assert prepared.settings == ("shape",) and len(prepared.executables) == 3


def test_devices_and_models_that_are_refused():
    assert backend.supports_device("CPU") and backend.supports_device("CPU:0") and not backend.supports_device("CUDA")
    with pytest.raises(UnsupportedError, match="no device 'CUDA'"):
        backend.prepare(MLP, "CUDA")
    unknown = model([node("Frobnicate", "x", "y")], {"x": [2]}, ["y"])
    assert backend.is_compatible(MLP) and backend.is_compatible(RESHAPE) and not backend.is_compatible(unknown)
    with pytest.raises(UnsupportedError, match="Frobnicate"):
        backend.prepare(unknown)
