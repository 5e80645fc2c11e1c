"""What does a narrow weight save?  One row times a constant matrix of 4096 x 4096, its weights in several types.

Each is the ONNX that people have: a MatMul behind a Cast, behind a DequantizeLinear with a scale for each output, and
MatMulNBits with a float32 scale for each 32 weights. x is float32 throughout; the references are what the narrow
weights stand for, so a contender that rounds x as well is off by what that costs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .workloads import Case

SIZE, BLOCK = 4096, 32


def write_narrow_product(name: str, folder: Path) -> Case:
    """The model called `name` and its data, written into the folder: in0 f32 [1, 4096] -> out0. Needs onnx."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, SIZE)).astype(np.float32)
    w = (rng.standard_normal((SIZE, SIZE)) / 64).astype(np.float32)
    kind = name.removeprefix("matvec_")
    product = helper.make_node("MatMul", ["in0", "wide"], ["out0"])
    if kind == "float32":
        tensors, nodes, wide = [numpy_helper.from_array(w, "wide")], [product], w
    elif kind in ("bfloat16", "float16"):
        code = {"bfloat16": TensorProto.BFLOAT16, "float16": TensorProto.FLOAT16}[kind]
        narrow = helper.make_tensor("w", code, w.shape, w.reshape(-1))
        tensors, wide = [narrow], numpy_helper.to_array(narrow).astype(np.float32)
        nodes = [helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT), product]
    elif kind == "int8":
        scales = np.abs(w).max(axis=0) / np.float32(127)
        codes = np.rint(w / scales).astype(np.int8)
        tensors, wide = [numpy_helper.from_array(codes, "w"), numpy_helper.from_array(scales, "s")], codes * scales
        nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["wide"], axis=1), product]
    else:
        rows = w.T.reshape(SIZE, SIZE // BLOCK, BLOCK)
        scales = np.abs(rows).max(axis=2) / np.float32(7)
        codes = (np.rint(rows / scales[..., None]) + 8).astype(np.uint8)
        wide = ((codes.astype(np.float32) - 8) * scales[..., None]).reshape(SIZE, SIZE).T
        tensors = [numpy_helper.from_array(codes[..., ::2] | codes[..., 1::2] << 4, "w"),
                   numpy_helper.from_array(scales.reshape(-1), "s")]
        nodes = [helper.make_node("MatMulNBits", ["in0", "w", "s"], ["out0"], domain="com.microsoft", K=SIZE, N=SIZE,
                                  bits=4, block_size=BLOCK)]
    ends = [helper.make_tensor_value_info(port, TensorProto.FLOAT, [1, SIZE]) for port in ("in0", "out0")]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    case = Case(name, str(folder / f"{name}.onnx"), str(folder / f"{name}.npz"))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), case.model)
    np.savez(case.data, in0=x, ref_out0=x @ wide)
    return case
