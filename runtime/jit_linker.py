"""How does object code get into this process where lamina's own loader does not know its relocations?  By LLVM's JIT linker."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Mapping, Sequence

_numbers = itertools.count()


@cache
def _compiler():
    import llvmlite.binding as llvm
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1, reloc="pic", codemodel="small")
    return llvm.create_lljit_compiler(machine, use_jit_link=True)


def link(objects: Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]) -> tuple[object, dict[str, int]]:
    """(what keeps the code mapped, the addresses of `exports`) of `objects`, linked with each other, with `imports` (addresses by
    name), and with the functions of this process."""
    import llvmlite.binding as llvm
    builder = llvm.JITLibraryBuilder().add_current_process()
    for name, address in imports.items():
        builder.import_symbol(name, address)
    for image in objects:
        builder.add_object_img(image)
    for name in exports:
        builder.export_symbol(name)
    tracker = builder.link(_compiler(), f"lamina_{next(_numbers)}")
    return tracker, {name: tracker[name] for name in exports}
