"""What native code do all compiled models share?  The runtime object, as LLVM IR text that Python emits.

`support_ir` is the thread pool and the number of threads, one copy per process; `main_ir` the program around a model
that runs without Python. They call the C library and nothing else.
"""

from __future__ import annotations

from .limit import limit_ir
from .main import Array, Interface, SymbolFacts, main_ir, start_ir
from .platforms import declarations, platform
from .pool import MAX_THREADS, pool_ir
from .workers import workers_ir

__all__ = ["EXPORTS", "MAX_THREADS", "Array", "Interface", "SymbolFacts", "main_ir", "start_ir", "support_ir"]

EXPORTS = ("lamina_parallel", "lamina_begin", "lamina_end", "lamina_max_threads", "lamina_set_max_threads",
           "lamina_quota_threads")


def support_ir(target_triple: str, os: str = "linux") -> str:
    """The runtime object's module: a complete LLVM IR text for `target_triple` that defines `EXPORTS`.

    The state is internal and the functions external and weak: where several models with this object in them are linked,
    the functions of one are taken, and with them its state, so they share one pool. A shared library that holds it must
    stay loaded (ld -z nodelete): its workers sleep in its code.
    """
    row = platform(target_triple, os)
    text = pool_ir(row) + workers_ir(row) + limit_ir(row)
    return f'target triple = "{target_triple}"\n{text}\n{declarations(text, row)}'
