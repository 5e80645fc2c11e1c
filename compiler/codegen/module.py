"""What goes into one LLVM module?  A kernel's functions, declarations and attributes."""

from __future__ import annotations

from ..kernel.ir import Kernel
from ..targets.target import Target
from .llvm.function import emit_kernel


def kernel_module(kernel: Kernel, target: Target, name: str) -> str:
    """The LLVM text of `kernel` as a module of its own that exports `name`."""
    functions, declarations = emit_kernel(kernel, target, name)
    return "\n\n".join([f'target triple = "{target.triple}"', *functions, "\n".join(sorted(declarations)), attributes(target)]) + "\n"


def attributes(target: Target) -> str:
    bits = target.vector_bytes * 8
    common = (f'nounwind "min-legal-vector-width"="{bits}" "prefer-vector-width"="{bits}" '
              f'"no-trapping-math"="true" "denormal-fp-math"="ieee,ieee"')
    return f"attributes #0 = {{ {common} }}\nattributes #1 = {{ noinline {common} }}\n!0 = !{{i32 1}}"
