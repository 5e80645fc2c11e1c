"""How does object code get into this process?  LLVM's linker; one runtime object with the thread pool for all models."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

from .threads import add_pool

_lock = threading.Lock()
_numbers = itertools.count()
_jit = None
_support: dict[str, object] = {}


@dataclass
class Library:
    """Linked object code. `tracker` keeps it mapped; `symbols` are the addresses asked for."""

    tracker: object
    symbols: dict[str, int]


def _compiler():
    global _jit
    if _jit is None:
        import llvmlite.binding as llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(opt=1, reloc="pic", codemodel="small")
        _jit = llvm.create_lljit_compiler(machine, use_jit_link=True)
    return _jit


def load_objects(objects: list[bytes], support: bytes, support_key: str, exports: tuple[str, ...], support_exports: tuple[str, ...]) -> Library:
    """Link `objects` into this process and find `exports`. `support` is linked once for each `support_key`."""
    import llvmlite.binding as llvm
    with _lock:
        jit = _compiler()
        runtime = _support.get(support_key)
        if runtime is None:
            builder = llvm.JITLibraryBuilder().add_object_img(support).add_current_process()
            for name in support_exports:
                builder.export_symbol(name)
            runtime = _support[support_key] = builder.link(jit, f"lamina_support_{next(_numbers)}")
            add_pool({name: runtime[name] for name in support_exports})
        builder = llvm.JITLibraryBuilder().add_current_process()
        for name in support_exports:
            builder.import_symbol(name, runtime[name])
        for image in objects:
            builder.add_object_img(image)
        for name in exports:
            builder.export_symbol(name)
        tracker = builder.link(jit, f"lamina_model_{next(_numbers)}")
        return Library(tracker, {name: tracker[name] for name in exports})


def support_function(name: str) -> int | None:
    """The address of a function of the runtime object, once a model is loaded."""
    for runtime in _support.values():
        return runtime[name]
    return None
