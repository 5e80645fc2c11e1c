"""Do models with narrow constant weights compute what onnxruntime does, and keep the weights narrow?"""

import re

import numpy as np
import pytest

import lamina as lm

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
RNG = np.random.default_rng(0)


def check(nodes, constants, rows=3, inner=96, opset=21):
    """The compiled model, after its numbers were compared."""
    inputs = [helper.make_tensor_value_info("x", FLOAT, (rows, inner))]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    tensors = [t if isinstance(t, onnx.TensorProto) else onnx.numpy_helper.from_array(t, n)
               for n, t in constants.items()]
    graph = helper.make_graph(nodes, "narrow", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    x = RNG.standard_normal((rows, inner)).astype("float32")
    options = onnxruntime.SessionOptions()  # optimized, onnxruntime rounds x to int8
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    executable = lm.compile(lm.onnx.load(model))
    np.testing.assert_allclose(executable(x)[0], want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
    return executable


def constant_dtypes(executable):
    """The dtypes of the program's constants."""
    found = re.findall(r"^  constant .*?: (\w+)\[", executable.text("program"), re.MULTILINE)
    return {{"u8": "uint8", "i8": "int8"}.get(name, name) for name in found}


def codes(dtype, *shape):
    bounds = {"int8": (-128, 128), "uint8": (0, 256)}[dtype]
    return RNG.integers(*bounds, shape).astype(dtype)


def dequantized(**attributes):
    inputs = ["w", "s"] + (["z"] if attributes.pop("zero", False) else [])
    return [helper.make_node("DequantizeLinear", inputs, ["d"], **attributes),
            helper.make_node("MatMul", ["x", "d"], ["y"])]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("per", ["tensor", "column", "block"])
@pytest.mark.parametrize("zero", [False, True])
def test_dequantize_linear(dtype, per, zero):
    shape = {"tensor": (), "column": (70,), "block": (3, 70)}[per]
    constants = {"w": codes(dtype, 96, 70), "s": RNG.uniform(0.001, 0.01, shape).astype("float32")}
    if zero:
        constants["z"] = np.full(shape, 5, dtype)
    attributes = {"column": {"axis": 1}, "block": {"axis": 0, "block_size": 32}, "tensor": {}}[per]
    executable = check(dequantized(zero=zero, **attributes), constants)
    assert len(executable.kernels) == 1 and constant_dtypes(executable) == {dtype, "f32"}


def test_zero_points_that_differ_and_scales_along_the_sum():
    constants = {"w": codes("uint8", 96, 70), "s": RNG.uniform(0.001, 0.01, 70).astype("float32"),
                 "z": RNG.integers(0, 9, 70).astype("uint8")}
    check(dequantized(zero=True, axis=1), constants)
    constants = {"w": codes("int8", 96, 70), "s": RNG.uniform(0.001, 0.01, 96).astype("float32")}
    check(dequantized(axis=0), constants)


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_four_bits(kind):
    low = -8 if kind == "INT4" else 0
    values = RNG.integers(low, low + 16, 96 * 70)
    tensor = helper.make_tensor("w", getattr(onnx.TensorProto, kind), (96, 70), values)
    scales = RNG.uniform(0.01, 0.1, (3, 70)).astype("float32")
    executable = check(dequantized(axis=0, block_size=32), {"w": tensor, "s": scales})
    assert len(executable.kernels) == 1 and constant_dtypes(executable) == {"uint8", "f32"}


@pytest.mark.parametrize("bits, block", [(4, 32), (4, 16), (8, 32)])
@pytest.mark.parametrize("zeros", [None, "equal", "different"])
def test_matmul_n_bits(bits, block, zeros):
    blocks = 96 // block
    constants = {"w": codes("uint8", 70, blocks, block * bits // 8),
                 "s": RNG.uniform(0.01, 0.1, 70 * blocks).astype("float32")}
    if zeros:
        size = 70 * -(-blocks * bits // 8)
        constants["z"] = np.full(size, 0x77, "uint8") if zeros == "equal" else codes("uint8", size)
    node = helper.make_node("MatMulNBits", ["x", "w", "s"] + ["z"] * bool(zeros), ["y"], domain="com.microsoft",
                            K=96, N=70, bits=bits, block_size=block)
    executable = check([node], constants)
    assert len(executable.kernels) == 1
    assert ("uint8" in constant_dtypes(executable)) == (zeros != "different")
