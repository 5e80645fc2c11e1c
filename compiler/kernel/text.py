"""How is a kernel written down?  Printing, the exact inverse of parsing, and the key under which equal kernels meet.

    kernel scale(in x: f32[batch, 64], out y: f32[batch, 64]) symbols(batch=1..32) {
      parallel for i in batch {
        vector(8, 2) for j in 64 {
          let v: f32 = x[i, j]
          y[i, j] = exp(v * 0.5) + 1.0
        }
      }
    }

Literals are f32 or i64 unless a `:dtype` follows. A large expression that occurs several times in one statement is
written once, as a `with $0 = …` line before the statement. `#` starts a comment.
"""

from __future__ import annotations

import json
import re

from ..core.dims import Dim, Symbol, format_dim, symbols_of
from ..core.dtypes import bool_, float32, int64
from .ir import (Accumulate, Alloc, Binary, Bitcast, Buffer, Cast, Choose, Compare, Const, Expr, Fma, For, If, Kernel,
                 Let, Load, Prefetch, Select, Stmt, Store, Unary, Var, row_major)
from .notation import ACCUMULATE, COMPARE, INFIX, PREFIX, RESERVED, UNARY_LEVEL
from .parse import parse_kernel
from .sharing import Sharing, expressions, format_constant

__all__ = ["parse_kernel", "print_expr", "print_kernel", "print_statement", "structural_key"]


def print_kernel(kernel: Kernel) -> str:
    """The text of `kernel`; `parse_kernel` reads it back."""
    return _Printer().kernel(kernel, _spell(kernel.name))


def print_statement(statement: Stmt) -> str:
    """One statement on its own, a loop's or a branch's body as `{ … }`: for messages."""
    return "; ".join(_Printer().head(statement))


def print_expr(e: Expr) -> str:
    """An expression on its own: for messages and reports."""
    printer = _Printer()
    lines = printer.bindings((e,))
    return "; ".join([*lines, printer.expr(e)])


def structural_key(kernel: Kernel) -> str:
    """The kernel's text without its name, buffers and variables numbered: equal for kernels that do the same thing."""
    printer = _Printer(numbered=True)
    return printer.kernel(kernel, "")


def _spell(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][\w.]*", name) and name not in RESERVED else json.dumps(name)


class _Printer:
    def __init__(self, numbered: bool = False):
        self._numbered = numbered
        self._buffers: dict[str, str] = {}
        self._vars: dict[str, str] = {}
        self._count = 0
        self._sharing: Sharing | None = None
        self._temporaries: dict[int, str] = {}

    def kernel(self, kernel: Kernel, name: str) -> str:
        facts = {s.name: s for s in symbols_of(*(d for b in _buffers_of(kernel) for d in (*b.shape, *b.strides)))}
        params = [f"{b.role} {self.declaration(b, 'in')}" for b in kernel.params]
        symbols = ", ".join(_symbol_text(facts.get(s, Symbol(s))) for s in kernel.symbols)
        tail = f") symbols({symbols}) {{" if kernel.symbols else ") {"
        head = f"kernel {name}(" + ", ".join(params) + tail
        if len(head) > 118:
            head = f"kernel {name}(\n    " + ",\n    ".join(params) + tail
        return "\n".join([head, *self.block(kernel.body, "  "), "}"]) + "\n"

    def declaration(self, b: Buffer, role: str) -> str:
        if self._numbered:
            self._buffers[b.name] = f"%b{len(self._buffers)}"
        text = f"{self.buffer(b)}: {b.dtype}[{_dims(b.shape)}]"
        if b.strides != row_major(b.shape):
            text += f" strides({_dims(b.strides)})"
        if role == "local" and b.role != "local":
            text += f" role({b.role})"
        if role != "local" and b.space != "global":
            text += f" space({b.space})"
        return text

    def buffer(self, b: Buffer) -> str:
        return self._buffers.get(b.name, b.name if self._numbered else _spell(b.name))

    def bind(self, var: Var) -> str:
        if self._numbered:
            self._vars[var.name] = f"%v{self._count}"
            self._count += 1
        return self.var(var)

    def var(self, var: Var) -> str:
        return self._vars.get(var.name, var.name if self._numbered else _spell(var.name))

    def block(self, body: tuple[Stmt, ...], indent: str) -> list[str]:
        lines: list[str] = []
        for s in body:
            head = self.head(s, open_body=True)
            lines += [indent + line for line in head]
            if isinstance(s, For):
                lines += [*self.block(s.body, indent + "  "), indent + "}"]
            elif isinstance(s, If):
                lines += self.block(s.then, indent + "  ")
                if s.orelse:
                    lines += [indent + "} else {", *self.block(s.orelse, indent + "  ")]
                lines.append(indent + "}")
        return lines

    def head(self, s: Stmt, open_body: bool = False) -> list[str]:
        """The lines of a statement without its body: bindings of shared expressions, then the statement."""
        lines = self.bindings(expressions(s))
        body = "{" if open_body else "{ … }"
        match s:
            case For():
                kind = "" if s.kind == "serial" else s.kind
                if s.interleave != 1:
                    kind = f"{s.kind}({s.width}, {s.interleave})"
                elif s.width != 1:
                    kind = f"{s.kind}({s.width})"
                dtype = "" if s.var.dtype == int64 else f": {s.var.dtype}"
                extent = self.expr(s.extent)
                text = f"{kind} for {self.bind(s.var)}{dtype} in {extent} {body}".lstrip()
            case If():
                text = f"if {self.expr(s.condition)} {body}"
            case Let():
                value = self.expr(s.value)
                text = f"let {self.bind(s.var)}: {s.var.dtype} = {value}"
            case Alloc():
                text = f"{s.buffer.space} {self.declaration(s.buffer, 'local')}"
            case Store():
                text = f"{'stream ' if s.streaming else ''}{self.element(s)} = {self.expr(s.value)}"
            case Accumulate():
                text = f"{self.element(s)} {ACCUMULATE.get(s.op, s.op)} {self.expr(s.value)}"
            case Prefetch():
                text = f"prefetch {self.element(s)}"
            case Choose():
                number, choices = self.expr(s.number), ", ".join(map(self.buffer, s.choices))
                text = f"choose {self.declaration(s.buffer, 'local')} = {choices} at {number}"
        return [*lines, text]

    def bindings(self, roots: tuple[Expr, ...]) -> list[str]:
        self._sharing, self._temporaries = Sharing(roots), {}
        lines = []
        for n, e in enumerate(self._sharing.bound):
            text = self.expr(e)
            self._temporaries[self._sharing.number(e)] = f"${n}"
            lines.append(f"with ${n} = {text}")
        return lines

    def element(self, s) -> str:
        return f"{self.buffer(s.buffer)}[{', '.join(map(self.expr, s.index))}]"

    def expr(self, e: Expr, level: int = 0) -> str:
        temporary = self._temporaries.get(self._sharing.number(e))
        if temporary is not None:
            return temporary
        text, own = self._expr(e)
        return f"({text})" if own < level else text

    def _expr(self, e: Expr) -> tuple[str, int]:
        match e:
            case Const():
                text = format_constant(e.value, e.dtype)
                if e.dtype not in (bool_, float32, int64):
                    text += f":{e.dtype}"
                return text, 9
            case Var():
                return self.var(e), 9
            case Load():
                return self.element(e), 9
            case Unary() if e.op in PREFIX:
                if isinstance(e.x, Const):
                    return f"{PREFIX[e.op]}({self.expr(e.x)})", UNARY_LEVEL
                return PREFIX[e.op] + self.expr(e.x, UNARY_LEVEL), UNARY_LEVEL
            case Unary():
                return f"{e.op}({self.expr(e.x)})", 9
            case Binary() if e.op in INFIX:
                sign, level = INFIX[e.op]
                return f"{self.expr(e.x, level)} {sign} {self.expr(e.y, level + 1)}", level
            case Binary():
                return f"{e.op}({self.expr(e.x)}, {self.expr(e.y)})", 9
            case Compare():
                return f"{self.expr(e.x, 1)} {COMPARE.get(e.op, e.op)} {self.expr(e.y, 1)}", 0
            case Select():
                return f"select({self.expr(e.condition)}, {self.expr(e.x)}, {self.expr(e.y)})", 9
            case Fma():
                return f"fma({self.expr(e.x)}, {self.expr(e.y)}, {self.expr(e.z)})", 9
            case Cast():
                return f"{e.dtype}({self.expr(e.x)})", 9
            case Bitcast():
                return f"bitcast<{e.dtype}>({self.expr(e.x)})", 9
        raise TypeError(f"{e!r} is no kernel expression")


def _dims(dims: tuple[Dim, ...]) -> str:
    return ", ".join(map(format_dim, dims))


def _symbol_text(s: Symbol) -> str:
    return s.name if s == Symbol(s.name) else f"{s.name}={s.facts()}"


def _buffers_of(kernel: Kernel):
    yield from kernel.params
    pending = list(kernel.body)
    while pending:
        match pending.pop():
            case Alloc(buffer=buffer):
                yield buffer
            case For(body=body):
                pending += body
            case If(then=then, orelse=orelse):
                pending += then + orelse
