"""What kernel does a text spell?  A recursive descent parser of what kernel/text.py prints."""

from __future__ import annotations

import json
import re

from ..core.dims import Dim, Symbol, parse_dim, parse_symbol
from ..core.dtypes import DType, as_dtype, bool_, float32, int64
from ..core.errors import FormatError
from .ir import (BINARY, FOR_KINDS, REDUCTIONS, ROLES, SPACES, UNARY, Accumulate, Alloc, Binary, Bitcast, Buffer, Cast,
                 Choose, Compare, Const, Expr, Fma, For, If, Kernel, Let, Load, Prefetch, Select, Stmt, Store, Unary,
                 Var)
from .notation import ACCUMULATE, COMPARE, DTYPES, SIGNS

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
        return as_dtype(token) if token in DTYPES else self._fail(f"a dtype was expected, not {token!r}")

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
        if word := self.accept("let", "if", "prefetch", "choose", "stream", "for", *FOR_KINDS, *SPACES):
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
            if word == "choose":
                return self.choice()
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

    def choice(self) -> Choose:
        buffer = self.declaration()
        self.expect("=")
        choices = [self.buffer(self.name())]
        while self.accept(","):
            choices.append(self.buffer(self.name()))
        self.expect("at")
        return Choose(buffer, tuple(choices), self.expr())

    def assignment(self, streaming: bool = False) -> Stmt:
        buffer, index = self.element(self.name())
        if self.accept("="):
            return Store(buffer, index, self.expr(), streaming)
        sign = self.expect("+=", "*=", "&=", "|=", "min", "max")
        op = next(op for op in REDUCTIONS if ACCUMULATE[op].rstrip("=") == sign.rstrip("="))
        if sign in ("min", "max"):
            self.expect("=")
        return Accumulate(buffer, index, op, self.expr())

    def element(self, name: str) -> tuple[Buffer, tuple[Expr, ...]]:
        buffer = self.buffer(name)
        self.expect("[")
        return buffer, self.arguments("]")

    def buffer(self, name: str) -> Buffer:
        return self._buffers[name] if name in self._buffers else self._fail(f"no buffer is called {name!r}")

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
        sign = self.accept(*COMPARE.values())
        if sign is None:
            return x
        return Compare(next(op for op, text in COMPARE.items() if text == sign), x, self.infix(1))

    def infix(self, level: int) -> Expr:
        """Precedence climbing: operators that bind at least as tightly as `level`, left to right."""
        x = self.prefixed()
        while self._tokens[self._at][0] == "sign" and (found := SIGNS.get(self.peek())) and found[1] >= level:
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
        if name in DTYPES:
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
