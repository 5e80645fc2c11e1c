"""How is an attribute written?  Numbers, strings, dtypes, types, dims, tuples and arrays, exact to the last bit.

    3  -0.0  1e-05  nan  true  none  "text"  f32  2*batch + 1  (1, 2)  (1,)  f32[2](1.0, 2.0)
    f32[64, 64]@0123456789abcdef…  schedule(rows=6, vectors=4)

Arrays of more than `LARGE` elements are written as their digest and live beside the text.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import fields
from typing import Callable, Mapping

import numpy as np

from ..core.dims import Dim, DimExpr, Symbol, parse_dim, symbol, symbols_of
from ..core.dtypes import ALL, DType, as_dtype
from ..core.errors import LaminaError
from ..core.schedule import Schedule
from ..core.types import TensorType
from .tokens import Tokens

LARGE = 64  # elements
DTYPES = {d.short: d for d in ALL}
_WORDS = {"none": None, "true": True, "false": False, "inf": math.inf}
_RESERVED = frozenset((*DTYPES, *_WORDS, "nan", "graph", "dim", "schedule"))
_QUIET_NAN = struct.pack("<d", math.nan)


# ---- printing --------------------------------------------------------------------------------------------------------
def format_value(value, format_other: Callable[[object], str]) -> str:
    """The text of an attribute; `format_other` gives that of arrays and graphs."""
    if value is None:
        return "none"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return _format_float(float(value))
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (DType, TensorType)):
        return str(value)
    if isinstance(value, Schedule):
        return f"schedule({value})"
    if isinstance(value, DimExpr):
        return f"dim({json.dumps(str(value))})" if any(s.name in _RESERVED for s in symbols_of(value)) else str(value)
    if isinstance(value, tuple):
        inside = ", ".join(format_value(v, format_other) for v in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return format_other(value)


def _format_float(value: float) -> str:
    if value != value:
        bits = struct.pack("<d", value)
        return "nan" if bits == _QUIET_NAN else f"nan({hex(int.from_bytes(bits, 'little'))})"
    return repr(value)


def format_elements(array: np.ndarray) -> str:
    """`dtype[shape](elements)`, row-major."""
    dtype = as_dtype(array.dtype)
    return f"{TensorType(tuple(array.shape), dtype)}({', '.join(_format_element(x, dtype) for x in array.reshape(-1))})"


def _format_element(x, dtype: DType) -> str:
    if dtype.is_bool:
        return "true" if x else "false"
    if dtype.is_integer:
        return str(int(x))
    if x != x:
        bits = int.from_bytes(x.tobytes(), "little")
        return "nan" if bits == int.from_bytes(_element(math.nan, dtype).tobytes(), "little") else f"nan({hex(bits)})"
    short = str(x)
    if re.fullmatch(r"-?(inf|\d+(\.\d+|(\.\d+)?e[+-]?\d+))", short):
        if _element(float(short), dtype).tobytes() == x.tobytes():
            return short
    return repr(float(x))  # text is read as a double: rounding twice could lose the last bit


def _element(value, dtype: DType) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(dtype.numpy) if dtype.is_float else np.asarray(value, dtype.numpy)


# ---- parsing ---------------------------------------------------------------------------------------------------------
class LiteralParser:
    """Reads attributes and types from `tokens`. `symbols` are the declared dims, `constants` the large arrays by
    digest."""

    def __init__(self, tokens: Tokens, constants: Mapping[str, np.ndarray]):
        self.tokens = tokens
        self.symbols: dict[str, Symbol] = {}
        self.constants = constants
        self._types: dict[str, TensorType] = {}

    def type(self) -> TensorType:
        """`f32[batch, 10]`. Equal texts give one object."""
        tokens = self.tokens
        word, start = tokens.peek(), tokens.at
        if word not in DTYPES:
            tokens.fail(f"a type such as f32[2, 3] was expected, not {tokens.shown()}")
        tokens.at += 1
        inside, offset = tokens.skip("[", "]")
        key = word + inside
        if key not in self._types:
            dims = [self.dim(d, start) for d in inside.split(",")] if inside.strip() else []
            self._types[key] = TensorType(tuple(dims), DTYPES[word])
        return self._types[key]

    def dim(self, text: str, token: int) -> Dim:
        """The dim that `text` spells; an error points at `token`."""
        try:
            dim = parse_dim(text, self.symbols)
        except LaminaError as error:
            self.tokens.fail(error.message, token)
        for found in symbols_of(dim) if not isinstance(dim, int) else ():
            if found.name not in self.symbols:
                self._fail_symbol(found.name, token)
        return dim

    def _fail_symbol(self, name: str, token: int):
        declared = f"the graph declares {', '.join(self.symbols)}" if self.symbols else "the graph declares no symbols"
        self.tokens.fail(f"no dim is called {name!r} here: {declared}", token)

    def value(self):
        """Any attribute but a graph."""
        first = self.tokens.at
        x = self._term()
        while sign := self.tokens.accept("+", "-"):
            y = self._term()
            x = self._combine(sign, x, y, first)
        return x

    def _term(self):
        first = self.tokens.at
        x = self._factor()
        while sign := self.tokens.accept("*", "//"):
            y = self._factor()
            x = self._combine(sign, x, y, first)
        return x

    def _combine(self, sign: str, x, y, token: int):
        """Arithmetic on dims: the only operators that attributes have."""
        if not all(isinstance(v, (int, DimExpr)) and not isinstance(v, bool) for v in (x, y)):
            self.tokens.fail(f"{sign!r} joins dims alone", token)
        try:
            return {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "//": lambda: x // y}[sign]()
        except (LaminaError, ZeroDivisionError) as error:
            self.tokens.fail(str(error), token)

    def _factor(self):
        tokens = self.tokens
        kind, word, _, _ = tokens.tokens[tokens.at]
        if kind == "number":
            tokens.at += 1
            return _number(word)
        if kind == "string":
            return tokens.string()
        if kind == "sign" and word == "-":
            tokens.at += 1
            x = self._factor()
            if isinstance(x, (int, float, DimExpr)) and not isinstance(x, bool):
                return -x
            tokens.fail("a number was expected after '-'", tokens.at - 1)
        if kind == "sign" and word == "(":
            return self._tuple()
        if kind == "name":
            return self._word(word)
        tokens.fail(f"a value was expected, not {tokens.shown()}")

    def _word(self, word: str):
        tokens = self.tokens
        if word in DTYPES:
            if tokens.tokens[tokens.at + 1][1] != "[":
                tokens.at += 1
                return DTYPES[word]
            return self._array()
        tokens.at += 1
        if word in _WORDS:
            return _WORDS[word]
        if word == "nan":
            return struct.unpack("<d", self._bits(8))[0] if tokens.peek() == "(" else math.nan
        if word == "schedule":
            return self._schedule()
        if word == "dim":
            tokens.expect("(")
            dim = self.dim(tokens.string(), tokens.at - 1)
            tokens.expect(")")
            return dim
        if word not in self.symbols:
            self._fail_symbol(word, tokens.at - 1)
        found = self.symbols[word]
        return symbol(found.name, found.lower, found.upper, found.multiple)

    def _schedule(self) -> Schedule:
        """`(rows=6, vectors=4)`, behind the word."""
        tokens, first = self.tokens, self.tokens.at - 1
        choices: dict[str, object] = {}

        def choice() -> None:
            name = tokens.name("a choice")
            tokens.expect("=")
            choices[name] = self.value()
        self.sequence(choice)
        try:
            return Schedule(**choices)
        except TypeError:
            known = ", ".join(f.name for f in fields(Schedule))
            tokens.fail(f"a schedule's choices are {known}, not {', '.join(choices)}", first)
        except LaminaError as error:
            tokens.fail(error.message, first)

    def _tuple(self):
        """`(a, b)`, `(a,)` or `()`; `(a)` is a itself."""
        items = self.sequence(self.item)
        has_comma = self.tokens.tokens[self.tokens.at - 2][1] == ","
        return items[0] if len(items) == 1 and not has_comma else tuple(items)

    def item(self):
        """What stands in a tuple; the parser of graphs reads graphs there too."""
        return self.value()

    def sequence(self, item: Callable, opening: str = "(", closing: str = ")") -> list:
        """`item`s between brackets, separated by commas; one may follow the last."""
        self.tokens.expect(opening)
        items = []
        while not self.tokens.accept(closing):
            items.append(item())
            if self.tokens.expect(",", closing) == closing:
                break
        return items

    def _array(self):
        """`f32[2](1.0, 2.0)` or `f32[64, 64]@digest`; a type that neither follows is a TensorType."""
        tokens, first = self.tokens, self.tokens.at
        t = self.type()
        if tokens.kind() == "hash":
            return self._large(t, tokens.take()[1:], first)
        if tokens.peek() != "(":
            return t
        if not t.is_static:
            tokens.fail("an array can't have symbolic dims", first)
        elements = self.sequence(lambda: self._element(t.dtype))
        if len(elements) != t.size:
            tokens.fail(f"{t} has {t.size} elements, {len(elements)} are written", first)
        return np.concatenate([np.zeros(0, t.dtype.numpy), *(e.reshape(1) for e in elements)]).reshape(t.shape)

    def _large(self, t: TensorType, digest: str, token: int) -> np.ndarray:
        array = np.asarray(self.constants[digest])  # parse_graph has checked that all are there
        if array.dtype != t.dtype.numpy or array.shape != t.shape:
            found = f"{array.dtype.name}{list(array.shape)}"
            self.tokens.fail(f"the constant given for @{digest} is {found}, not {t}", token)
        return array

    def _element(self, dtype: DType) -> np.ndarray:
        tokens, first = self.tokens, self.tokens.at
        is_negative = tokens.accept("-") is not None
        kind, word = tokens.kind(), tokens.take()
        if word == "nan" and dtype.is_float:
            if tokens.peek() == "(":
                return np.frombuffer(self._bits(dtype.itemsize), dtype.numpy)
            return _element(math.nan, dtype)
        value = _number(word) if kind == "number" else _WORDS.get(word)
        wanted = (bool,) if dtype.is_bool else (int, float) if dtype.is_float else (int,)
        if type(value) not in wanted or is_negative and dtype.is_bool:
            tokens.fail(f"an element of {dtype} was expected, not {word!r}", first)
        value = -value if is_negative else value
        if dtype.is_integer and not dtype.minimum <= value <= dtype.maximum:
            tokens.fail(f"{value} is no value of {dtype}", first)
        return _element(value, dtype)

    def _bits(self, itemsize: int) -> bytes:
        """`(0x7fc00001)`, the bit pattern of a NaN, little-endian."""
        tokens = self.tokens
        tokens.expect("(")
        word = tokens.take()
        if not re.fullmatch(r"0x[0-9a-f]{1,%d}" % (2 * itemsize), word):
            tokens.fail(f"at most {2 * itemsize} hexadecimal digits after 0x were expected, not {word!r}",
                        tokens.at - 1)
        tokens.expect(")")
        return int(word, 16).to_bytes(itemsize, "little")


def _number(word: str) -> int | float:
    if word.startswith("0x"):
        return int(word, 16)
    return int(word) if word.isdigit() else float(word)
