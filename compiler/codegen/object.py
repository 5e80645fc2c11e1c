"""How does LLVM IR text become object code?  Parsed, verified, generated; several modules at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from typing import Callable

from ..core.errors import CompilerError
from ..targets.target import Target

#: The first line of a module whose code is generated in one pass: what runs once for each launch of a kernel gains nothing
#: from better registers, whose allocation takes time that grows faster than the module.
UNOPTIMIZED = "; unoptimized\n"

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


def _machine(target: Target, level: int):
    import llvmlite.binding as llvm
    machines = _local.__dict__.setdefault("machines", {})
    if (target.name, level) not in machines:
        machines[target.name, level] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small")
    return machines[target.name, level]


def _module(text: str, target: Target):
    import llvmlite.binding as llvm
    machine = _machine(target, 0 if text.startswith(UNOPTIMIZED) else 2)
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


class ObjectCompiler:
    """Compiles modules on as many threads as this process may use, while the caller still writes the text of the next ones.

    `cache` keeps objects by content: `get(key) -> bytes | None`, `put(key, bytes)`. `progress(stage, done, total)` is told of each.
    """

    def __init__(self, target: Target, cache=None, progress: Callable[[str, int, int], None] | None = None):
        self.target, self.cache, self.progress = target, cache, progress
        self._parallel = _initialize()
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lamina-codegen") if self._parallel and workers > 1 else None
        self._objects: dict[str, bytes | Future] = {}
        self._done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "ObjectCompiler":
        return self

    def __exit__(self, *_) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, name: str, text: str) -> None:
        """Begin to compile the module `name`."""
        self._objects[name] = self._compile(text) if self._pool is None else self._pool.submit(self._compile, text)

    def _compile(self, text: str) -> bytes:
        import llvmlite
        key = blake2b(f"{llvmlite.__version__}|{self.target}|{text}".encode(), digest_size=16).hexdigest()
        image = self.cache.get(key) if self.cache is not None else None
        if image is None:
            image = compile_object(text, self.target)
            if self.cache is not None:
                self.cache.put(key, image)
        with self._lock:
            self._done += 1
            if self.progress is not None:
                self.progress("codegen", self._done, len(self._objects))
        return image

    def finish(self) -> dict[str, bytes]:
        """The object code of every module, in the order in which they were added."""
        return {name: image.result() if isinstance(image, Future) else image for name, image in self._objects.items()}
