"""How does LLVM IR text become object code?  Parsed, verified, generated; several modules at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from ..core.errors import CompilerError
from ..targets.target import Target

_local = threading.local()


@cache
def _initialize() -> bool:
    """Start LLVM; True where its calls may run in parallel.

    llvmlite takes one lock around every call. LLVM itself only asks that a context and a target machine stay in one thread,
    which holds here, so the lock is lifted for the calls below where llvmlite is of a version whose internals are known.
    """
    import llvmlite
    import llvmlite.binding as llvm
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    try:
        from llvmlite.binding import ffi
        if not llvmlite.__version__.startswith("0.50."):
            return False
        _warm_up(llvm)

        class Unlocked:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return False

            def acquire(self, *_args, **_kwargs):
                return True

            def release(self):
                return None

        for wrapper in ffi.lib._fntab.values():
            wrapper._lock = Unlocked()
        return True
    except (ImportError, AttributeError):
        return False


def _warm_up(llvm) -> None:
    """Touch each function once: their lazy creation is not thread safe."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(opt=1)
    module = llvm.parse_assembly("define void @f() {\n  ret void\n}", llvm.create_context())
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    machine.emit_object(module)
    machine.emit_assembly(module)


def _machine(target: Target):
    import llvmlite.binding as llvm
    machines = _local.__dict__.setdefault("machines", {})
    if target.name not in machines:
        machines[target.name] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small")
    return machines[target.name]


def _module(text: str, target: Target):
    import llvmlite.binding as llvm
    machine = _machine(target)
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.triple, module.data_layout = target.triple, str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise CompilerError(f"LLVM refuses the text of a kernel: {error}") from error
    return machine, module


def compile_object(text: str, target: Target) -> bytes:
    """The object code (ELF) of one LLVM module."""
    _initialize()
    machine, module = _module(text, target)
    return machine.emit_object(module)


def compile_assembly(text: str, target: Target) -> str:
    """The assembly of one LLVM module, for reading and for tests."""
    _initialize()
    machine, module = _module(text, target)
    return machine.emit_assembly(module)


def compile_objects(texts: list[str], target: Target, progress=None) -> list[bytes]:
    """Objects of several modules, on as many threads as this process may use."""
    parallel = _initialize()
    workers = min(len(texts), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def one(text: str) -> bytes:
        result = compile_object(text, target)
        if progress is not None:
            progress()
        return result
    if workers <= 1 or not parallel:
        return [one(t) for t in texts]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # the longest first: no straggler at the end
    with ThreadPoolExecutor(workers, thread_name_prefix="lamina-codegen") as pool:
        done = dict(zip(order, pool.map(one, [texts[i] for i in order])))
    return [done[i] for i in range(len(texts))]
