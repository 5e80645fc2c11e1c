"""Is a product with a power of two one instruction where there is one, and code for other targets free of it?"""

import pytest

from lamina.compiler.codegen.module import kernel_module
from lamina.compiler.codegen.object import compile_assembly
from lamina.compiler.kernel.parse import parse_kernel
from lamina.compiler.targets import all_targets, find_target

EXPONENTIALS = """
kernel exponentials(in x: {dtype}[64], out y: {dtype}[64]) {{
  vector({lanes}) for i in 64 {{
    y[i] = exp(x[i])
  }}
}}
"""


@pytest.mark.parametrize("target", [t.name for t in all_targets()])
@pytest.mark.parametrize("dtype, size, name", [("f32", 4, "vscalefps"), ("f64", 8, "vscalefpd")])
def test_exponentials(target, dtype, size, name):
    target = find_target(target)
    kernel = parse_kernel(EXPONENTIALS.format(dtype=dtype, lanes=target.vector_bytes // size)).verify()
    assembly = compile_assembly(kernel_module(kernel, target, "exponentials"), target)
    assert assembly.count("scalef") == assembly.count(name) == (1 if target.name == "x86-64-v4" else 0)
    if target.name == "x86-64-v4":
        assert "vpslld" not in assembly and "vpsllq" not in assembly
