"""How is a kernel written down?  print_kernel and parse_kernel, exact inverses, and the key under which equal kernels meet.

    kernel scale(in x: f32[batch, 64], out y: f32[batch, 64]) symbols(batch=1..32) {
      parallel for i in batch {
        vector(8, 2) for j in 64 {
          let v: f32 = x[i, j]
          y[i, j] = exp(v * 0.5) + 1.0
        }
      }
    }

Literals are f32 or i64 unless a `:dtype` follows. A large expression that occurs several times in one statement is written
once, as a `with $0 = …` line before the statement. `#` starts a comment.
"""

from __future__ import annotations

import json
import re

from ..core.dims import Dim, Symbol, format_dim, parse_dim, parse_symbol, symbols_of
from ..core.dtypes import DType, as_dtype, bool_, float32, int64
from ..core.errors import FormatError
from .ir import (BINARY, FOR_KINDS, REDUCTIONS, ROLES, SPACES, UNARY, Accumulate, Alloc, Binary, Bitcast, Buffer, Cast, Compare,
                 Const, Expr, Fma, For, If, Kernel, Let, Load, Prefetch, Select, Stmt, Store, Unary, Var, row_major)
from .sharing import Sharing, expressions, format_constant

_INFIX = {"or": ("|", 1), "xor": ("^", 2), "and": ("&", 3), "shl": ("<<", 4), "shr": (">>", 4), "add": ("+", 5), "sub": ("-", 5),
          "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": ("%", 6)}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ACCUMULATE = {"add": "+=", "mul": "*=", "min": "min=", "max": "max=", "and": "&=", "or": "|="}
_PREFIX = {"neg": "-", "not": "~"}
_UNARY_LEVEL = 7
_SIGNS = {sign: (op, level) for op, (sign, level) in _INFIX.items()}
_RESERVED = frozenset((*FOR_KINDS, *ROLES, *SPACES, "for", "if", "else", "let", "with", "stream", "prefetch", "bitcast", "true",
                       "false", "inf", "nan", "min", "max", "kernel", "symbols", "strides", "role", "space"))
_DTYPES = frozenset(("bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"))


# ---- printing --------------------------------------------------------------------------------------------------------
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
    """The kernel's text without its name and with buffers and variables numbered: equal for kernels that do the same thing."""
    printer = _Printer(numbered=True)
    return printer.kernel(kernel, "")


def _spell(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][\w.]*", name) and name not in _RESERVED else json.dumps(name)


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
                text = f"{self.element(s)} {_ACCUMULATE.get(s.op, s.op)} {self.expr(s.value)}"
            case Prefetch():
                text = f"prefetch {self.element(s)}"
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
            case Unary() if e.op in _PREFIX:
                if isinstance(e.x, Const):
                    return f"{_PREFIX[e.op]}({self.expr(e.x)})", _UNARY_LEVEL
                return _PREFIX[e.op] + self.expr(e.x, _UNARY_LEVEL), _UNARY_LEVEL
            case Unary():
                return f"{e.op}({self.expr(e.x)})", 9
            case Binary() if e.op in _INFIX:
                sign, level = _INFIX[e.op]
                return f"{self.expr(e.x, level)} {sign} {self.expr(e.y, level + 1)}", level
            case Binary():
                return f"{e.op}({self.expr(e.x)}, {self.expr(e.y)})", 9
            case Compare():
                return f"{self.expr(e.x, 1)} {_COMPARE.get(e.op, e.op)} {self.expr(e.y, 1)}", 0
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


# ---- parsing -----------------------------------------------------------------------------------------------------------
_TOKEN = re.compile(r"""(?P<space>\s+|\#[^\n]*)
    |(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<name>[A-Za-z_][\w.]*)|(?P<shared>\$\d+)
    |(?P<sign><<|>>|<=|>=|==|!=|//|\.\.|\+=|\*=|&=|\|=|[-+*/%&|^~<>=(){}\[\],:])""", re.VERBOSE)


def parse_kernel(text: str) -> Kernel:
    """The kernel that `text` spells; FormatError with the line where it can't be read."""
    return _Parser(text).kernel()


class _Parser:
    def __init__(self, text: str):
        self._text = text
        self._tokens: list[tuple[str, str, int, int]] = []  # kind, text, start, end
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                self._fail(f"can't read {text[at:at + 10]!r}", at)
            if match.lastgroup != "space":
                self._tokens.append((match.lastgroup, match.group(), at, match.end()))
            at = match.end()
        self._tokens.append(("end", "", at, at))
        self._at = 0
        self._symbols: dict[str, Symbol] = {}
        self._buffers: dict[str, Buffer] = {}
        self._vars: dict[str, Var] = {}
        self._shared: dict[str, Expr] = {}

    def _fail(self, problem: str, at: int | None = None):
        at = self._tokens[self._at - 1][2] if at is None else at  # where the token is that was taken last
        raise FormatError(f"kernel text, line {self._text.count(chr(10), 0, at) + 1}: {problem}")

    # -- tokens
    def peek(self, ahead: int = 0) -> str:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)][1]

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def accept(self, *tokens: str) -> str | None:
        return self.take() if self.peek() in tokens and self._tokens[self._at][0] != "string" else None

    def expect(self, *tokens: str) -> str:
        return self.accept(*tokens) or self._fail(f"{' or '.join(map(repr, tokens))} was expected, not {self.peek()!r}",
                                                  self._tokens[self._at][2])

    def name(self) -> str:
        kind, text, *_ = self._tokens[self._at]
        if kind not in ("name", "string"):
            self._fail(f"a name was expected, not {text!r}", self._tokens[self._at][2])
        self._at += 1
        return json.loads(text) if kind == "string" else text

    def integer(self) -> int:
        token = self.take()
        return int(token) if token.isdigit() else self._fail(f"an integer was expected, not {token!r}")

    def dtype(self) -> DType:
        token = self.take()
        return as_dtype(token) if token in _DTYPES else self._fail(f"a dtype was expected, not {token!r}")

    def _skip(self, opening: str, closing: str) -> str:
        """The text between a pair of brackets, which it passes."""
        start = self._tokens[self._at][3]
        self.expect(opening)
        depth = 1
        while depth:
            token = self.take()
            depth += (token == opening) - (token == closing)
            if self._at >= len(self._tokens):
                self._fail(f"{closing!r} is missing", start)
        return self._text[start:self._tokens[self._at - 1][2]]

    # -- declarations
    def kernel(self) -> Kernel:
        self.expect("kernel")
        name = self.name()
        start = self._at
        self._skip("(", ")")
        if self.accept("symbols"):
            declared = [parse_symbol(s) for s in self._skip("(", ")").split(",")]
            self._symbols = {s.name: s for s in declared}
            self._vars = {s.name: Var(s.name, int64) for s in declared}
        body_start, self._at = self._at, start
        self.expect("(")
        params = []
        while not self.accept(")"):
            if params:
                self.expect(",")
            params.append(self.declaration(role=self.expect(*ROLES)))
        self._at = body_start
        body = self.block()
        if self._tokens[self._at][0] != "end":
            self._fail(f"{self.peek()!r} after the kernel's end", self._tokens[self._at][2])
        return Kernel(name, tuple(params), body, tuple(self._symbols))

    def declaration(self, role: str = "local", space: str = "global") -> Buffer:
        name = self.name()
        self.expect(":")
        dtype = self.dtype()
        shape, strides = self.dims("[", "]"), ()
        while word := self.accept("strides", "role", "space"):
            if word == "strides":
                strides = self.dims("(", ")")
            else:
                self.expect("(")
                if word == "role":
                    role = self.expect(*ROLES)
                else:
                    space = self.expect(*SPACES)
                self.expect(")")
        buffer = Buffer(name, dtype, shape, strides, role, space)
        self._buffers[name] = buffer
        return buffer

    def dims(self, opening: str, closing: str) -> tuple[Dim, ...]:
        text = self._skip(opening, closing).strip()
        return tuple(parse_dim(d, self._symbols) for d in text.split(",")) if text else ()

    # -- statements
    def block(self) -> tuple[Stmt, ...]:
        self.expect("{")
        body = []
        while not self.accept("}"):
            body.append(self.statement())
        return tuple(body)

    def statement(self) -> Stmt:
        self._shared = {}
        while self.accept("with"):
            name = self.take()
            self.expect("=")
            self._shared[name] = self.expr()
        if word := self.accept("let", "if", "prefetch", "stream", "for", *FOR_KINDS, *SPACES):
            if word in SPACES:
                return Alloc(self.declaration(space=word))
            if word == "let":
                name = self.name()
                self.expect(":")
                var = Var(name, self.dtype())
                self.expect("=")
                value = self.expr()
                self._vars[name] = var
                return Let(var, value)
            if word == "if":
                condition = self.expr()
                then = self.block()
                return If(condition, then, self.block() if self.accept("else") else ())
            if word == "prefetch":
                return Prefetch(*self.element(self.name()))
            if word == "stream":
                return self.assignment(streaming=True)
            return self.loop(word)
        return self.assignment()

    def loop(self, word: str) -> For:
        kind, width, interleave = "serial", 1, 1
        if word != "for":
            kind = word
            if self.accept("("):
                width = self.integer()
                if self.accept(","):
                    interleave = self.integer()
                self.expect(")")
            self.expect("for")
        name = self.name()
        var = Var(name, self.dtype() if self.accept(":") else int64)
        self.expect("in")
        extent = self.expr()
        self._vars[name] = var
        return For(var, extent, self.block(), kind, width, interleave)

    def assignment(self, streaming: bool = False) -> Stmt:
        buffer, index = self.element(self.name())
        if self.accept("="):
            return Store(buffer, index, self.expr(), streaming)
        sign = self.expect("+=", "*=", "&=", "|=", "min", "max")
        op = next(op for op in REDUCTIONS if _ACCUMULATE[op].rstrip("=") == sign.rstrip("="))
        if sign in ("min", "max"):
            self.expect("=")
        return Accumulate(buffer, index, op, self.expr())

    def element(self, name: str) -> tuple[Buffer, tuple[Expr, ...]]:
        if name not in self._buffers:
            self._fail(f"no buffer is called {name!r}")
        self.expect("[")
        return self._buffers[name], self.arguments("]")

    def arguments(self, closing: str) -> tuple[Expr, ...]:
        found = []
        while not self.accept(closing):
            if found:
                self.expect(",")
            found.append(self.expr())
        return tuple(found)

    # -- expressions
    def expr(self) -> Expr:
        x = self.infix(1)
        sign = self.accept(*_COMPARE.values())
        if sign is None:
            return x
        return Compare(next(op for op, text in _COMPARE.items() if text == sign), x, self.infix(1))

    def infix(self, level: int) -> Expr:
        """Precedence climbing: operators that bind at least as tightly as `level`, left to right."""
        x = self.prefixed()
        while self._tokens[self._at][0] == "sign" and (found := _SIGNS.get(self.peek())) and found[1] >= level:
            self._at += 1
            x = Binary(found[0], x, self.infix(found[1] + 1))
        return x

    def prefixed(self) -> Expr:
        if self.accept("~"):
            return Unary("not", self.prefixed())
        if self.accept("-"):
            if self._tokens[self._at][0] == "number" or self.peek() in ("inf", "nan"):
                return self.literal(negative=True)
            return Unary("neg", self.prefixed())
        return self.primary()

    def literal(self, negative: bool = False) -> Const:
        kind, token, *_ = self._tokens[self._at]
        self._at += 1
        is_float = kind == "name" or not token.isdigit()
        value = float(token) if is_float else int(token)
        dtype = self.dtype() if self.accept(":") else (float32 if is_float else int64)
        return Const(-value if negative else value, dtype)

    def primary(self) -> Expr:
        kind, token, *_ = self._tokens[self._at]
        if kind == "shared":
            self._at += 1
            return self._shared[token] if token in self._shared else self._fail(f"{token} has no value here")
        if kind == "number" or (kind == "name" and token in ("inf", "nan")):
            return self.literal()
        if self.accept("("):
            x = self.expr()
            self.expect(")")
            return x
        if self.accept("true", "false"):
            return Const(token == "true", bool_)
        if self.accept("bitcast"):
            self.expect("<")
            dtype = self.dtype()
            self.expect(">")
            self.expect("(")
            return Bitcast(dtype, *self.exactly(1, "bitcast"))
        name = self.name()
        if kind == "name" and self.accept("("):
            return self.call(name)
        if self.peek() == "[":
            return Load(*self.element(name))
        return self._vars[name] if name in self._vars else self._fail(f"no variable is called {name!r} here")

    def exactly(self, count: int, name: str) -> tuple[Expr, ...]:
        found = self.arguments(")")
        return found if len(found) == count else self._fail(f"{name} takes {count} operands, not {len(found)}")

    def call(self, name: str) -> Expr:
        if name in _DTYPES:
            return Cast(as_dtype(name), *self.exactly(1, name))
        if name == "select":
            return Select(*self.exactly(3, name))
        if name == "fma":
            return Fma(*self.exactly(3, name))
        if name in UNARY:
            return Unary(name, *self.exactly(1, name))
        if name in BINARY:
            return Binary(name, *self.exactly(2, name))
        return self._fail(f"no operation is called {name!r}")
