"""How does a kernel become LLVM functions?  One entry, and one function for each parallel loop.

Entry: `void name(ptr args, i32 threads)`, where args holds a word for each parameter (its address) and then for each symbol
(its extent). A parallel loop's function, `void name.pN(ptr args, i64 chunk)`, does one chunk; chunks are cut the same way for
every number of threads, so results are bitwise equal.
"""

from __future__ import annotations

from ...core.dtypes import int64
from ...kernel.ir import Accumulate, For, If, Kernel, Let, Stmt, Store
from .emitter import Emitter
from .expressions import evaluate
from .operations import binary
from .statements import _state_keys, emit_block, emit_loop
from .values import Val, constant

MOST_CHUNKS = 64


def emit_kernel(kernel: Kernel, target, name: str) -> tuple[list[str], set[str]]:
    """(the text of the kernel's functions, the declarations that they need)."""
    written = frozenset(_written(kernel.body))
    functions: list[str] = []
    declarations: set[str] = {"declare void @lamina_parallel(ptr, ptr, i64, i32)"}
    outlined: list[str] = []

    def begin() -> Emitter:
        e = Emitter(target, written, name, begin, finish, outlined)
        for i, p in enumerate((*kernel.params, *kernel.symbols)):
            slot, value = f"%slot{i}", f"%arg{i}"
            e.line(f"  {slot} = getelementptr inbounds i64, ptr %args, i64 {i}")
            if isinstance(p, str):
                from ...kernel.ir import Var
                e.line(f"  {value} = load i64, ptr {slot}, align 8")
                e.bind(Var(p), Val(value, int64, 1, 0))
            else:
                e.line(f"  {value} = load ptr, ptr {slot}, align 8")
                e.pointers[id(p)] = Val(value, int64, 1, 0)
        return e

    def finish(e: Emitter, header: str) -> None:
        lines = e.frames[0].lines
        functions.append("\n".join([header + " {", "entry:", *e.allocas, *lines, "  ret void", "}"]))
        declarations.update(e.declarations)

    entry = begin()
    lets: list[Let] = []
    for i, statement in enumerate(kernel.body):
        if isinstance(statement, Let):
            lets.append(statement)
        if isinstance(statement, For) and statement.kind == "parallel":
            region = f"{name}.p{i}"
            chunks = _chunk_count(entry, statement)
            entry.line(f"  call void @lamina_parallel(ptr @{region}, ptr %args, i64 {chunks.text}, i32 %threads)")
            e = begin()
            emit_block(e, lets)
            _emit_chunk(e, statement)
            finish(e, f"define internal void @{region}(ptr noalias %args, i64 %chunk) #0")
        else:
            emit_block(entry, (statement,))
    finish(entry, f"define weak_odr hidden void @{name}(ptr noalias %args, i32 %threads) #0")
    return functions, declarations


def _chunk_count(e: Emitter, loop: For) -> Val:
    """At most MOST_CHUNKS chunks of at least `width` iterations."""
    extent = evaluate(e, loop.extent)
    if not extent.text.startswith("%"):
        grains = -(-int(extent.text) // max(1, loop.width))
        return constant(min(MOST_CHUNKS, grains), int64)
    grain = constant(max(1, loop.width), int64)
    grains = binary(e, "div", binary(e, "add", extent, constant(max(1, loop.width) - 1, int64)), grain, True)
    return binary(e, "min", grains, constant(MOST_CHUNKS, int64))


def _emit_chunk(e: Emitter, loop: For) -> None:
    chunks, extent = _chunk_count(e, loop), evaluate(e, loop.extent)
    chunk = Val("%chunk", int64, 1, 0)
    low = binary(e, "div", binary(e, "mul", chunk, extent), chunks, True)
    high = binary(e, "div", binary(e, "mul", binary(e, "add", chunk, constant(1, int64)), extent), chunks, True)

    def body(index: Val) -> None:
        e.bind(loop.var, index)
        emit_block(e, loop.body)
    emit_loop(e, low, high, 1, _state_keys(e, loop.body), body)


def _written(statements: tuple[Stmt, ...]) -> set[int]:
    ids: set[int] = set()
    for s in statements:
        if isinstance(s, (Store, Accumulate)):
            ids.add(id(s.buffer))
        elif isinstance(s, For):
            ids |= _written(s.body)
        elif isinstance(s, If):
            ids |= _written(s.then) | _written(s.orelse)
    return ids
