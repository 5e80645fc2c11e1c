"""What is measured?  The models and kernels of the zoo, where their files are, and how much work a kernel is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODELS = ("mlp", "mlp_big", "resnet50", "mobilenet_v2", "squeezenet", "vit_b_16", "minilm", "gpt2_prefill128",
          "gpt2_decode", "lstm", "unet", "dcgan", "mlp_b8", "resnet50_b8", "mobilenet_v2_b8", "minilm_b8", "lstm_b8")

# A model of one addition on one number: what a call costs when there is nothing to compute.
CALL_OVERHEAD = "call_overhead"

_F32 = 4


@dataclass(frozen=True)
class Kernel:
    """A single kernel: its floating-point operations, and the bytes it must read and write at least."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Case:
    """One workload as a worker gets it: the ONNX file, and the npz with in0.. and ref_out0.. (the references)."""

    name: str
    model: str
    data: str


def _matmul(batch: int, m: int, k: int, n: int) -> Kernel:
    return Kernel(2.0 * batch * m * k * n, _F32 * batch * (m * k + k * n + m * n))


def _attention(heads: int, length: int, width: int) -> Kernel:
    return Kernel(4.0 * heads * length * length * width, 4.0 * _F32 * heads * length * width)


def _conv(c_in: int, c_out: int, size: int, stride: int, groups: int, width: int) -> Kernel:
    out = -(-width // stride)
    weights = c_out * (c_in // groups) * size * size
    return Kernel(2.0 * weights * out * out, _F32 * (c_in * width * width + weights + c_out * out * out))


def _stream(elements_read: int, elements_written: int) -> Kernel:
    return Kernel(0.0, float(_F32 * (elements_read + elements_written)))


def _kernels() -> dict[str, Kernel]:
    kernels = {f"gemm_{n}": _matmul(1, n, n, n) for n in (256, 512, 1024, 2048)}
    for m in (1, 8, 32):
        for k, n in ((768, 768), (768, 3072), (3072, 768)):
            kernels[f"gemmw_{m}x{k}x{n}"] = _matmul(1, m, k, n)
    for length in (128, 512):
        kernels[f"attn_12x{length}x64"] = _attention(12, length, 64)
        kernels[f"bmm_12x{length}x64"] = _matmul(12, length, 64, length)
    kernels |= {
        "conv_r50_7x7s2_3_64_224": _conv(3, 64, 7, 2, 1, 224),
        "conv_r50_1x1_64_256_56": _conv(64, 256, 1, 1, 1, 56),
        "conv_r50_3x3_64_64_56": _conv(64, 64, 3, 1, 1, 56),
        "conv_r50_3x3s2_128_128_56": _conv(128, 128, 3, 2, 1, 56),
        "conv_r50_3x3_256_256_14": _conv(256, 256, 3, 1, 1, 14),
        "conv_r50_1x1_1024_256_14": _conv(1024, 256, 1, 1, 1, 14),
        "conv_r50_3x3_512_512_7": _conv(512, 512, 3, 1, 1, 7),
        "conv_mb_dw3x3_144_56": _conv(144, 144, 3, 1, 144, 56),
        "conv_mb_dw3x3s2_192_28": _conv(192, 192, 3, 2, 192, 28),
        "conv_mb_dw3x3_576_14": _conv(576, 576, 3, 1, 576, 14),
        "conv_mb_1x1_96_576_14": _conv(96, 576, 1, 1, 1, 14),
        "softmax_512x3072": _stream(512 * 3072, 512 * 3072),
        "layernorm_512x3072": _stream(512 * 3072, 512 * 3072),
        "gelu_512x3072": _stream(512 * 3072, 512 * 3072),
        "chain8_16M": _stream(2 * 2**24, 2**24),
        "sum_rows_4096x4096": _stream(4096 * 4096, 4096),
        "mean_cols_4096x4096": _stream(4096 * 4096, 4096),
    }
    return kernels


#: One row times a constant 4096 x 4096 matrix, by the type of its weights; int4 has a float32 scale for each 32.
NARROW_PRODUCTS = {f"matvec_{kind}": Kernel(0.0, 4096 * 4096 * bits / 8) for kind, bits in
                   (("float32", 32), ("bfloat16", 16), ("float16", 16), ("int8", 8), ("int4", 5))}
KERNELS = _kernels() | NARROW_PRODUCTS


def find_cases(zoo: Path, names: list[str]) -> tuple[list[Case], list[str]]:
    """The cases whose two files lie in the zoo's folder, and the names whose files do not."""
    cases, missing = [], []
    for name in names:
        model, data = zoo / f"{name}.onnx", zoo / f"{name}.npz"
        if model.is_file() and data.is_file():
            cases.append(Case(name, str(model), str(data)))
        else:
            missing.append(name)
    return cases, missing


def read_once(case: Case) -> None:
    """Bring the model file into the page cache, so that the first contender does not pay for the disk."""
    with open(case.model, "rb") as file:
        while file.read(1 << 24):
            pass


def write_call_overhead(folder: Path) -> Case:
    """The one-addition model and its data, written into the folder: out0 = in0 + in0, float32 [1]. Needs onnx."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    source, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in0", "out0"))
    addition = helper.make_node("Add", ["in0", "in0"], ["out0"])
    graph = helper.make_graph([addition], CALL_OVERHEAD, [source], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    case = Case(CALL_OVERHEAD, str(folder / f"{CALL_OVERHEAD}.onnx"), str(folder / f"{CALL_OVERHEAD}.npz"))
    onnx.save(model, case.model)
    one = np.ones(1, np.float32)
    np.savez(case.data, in0=one, ref_out0=one + one)
    return case
