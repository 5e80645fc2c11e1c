"""What does a kernel compute?  Run it one scalar at a time: the oracle of code generation.

The kernel becomes Python source, one statement for each of its own, and that runs. Loops of every kind run serially.
Every access is checked against its buffer's shape, both sides of a Select included, for native code reads both.
"""

from __future__ import annotations

from typing import Mapping

import numpy as np

from ..core.dims import evaluate
from ..core.dtypes import DType, bool_, int64
from ..core.errors import CompilerError, DTypeError, ShapeError, VerifyError
from . import arithmetic
from .ir import (Accumulate, Alloc, Binary, Bitcast, Buffer, Cast, Choose, Compare, Const, Expr, Fma, For, If, Kernel,
                 Let, Load, Prefetch, Select, Stmt, Store, Unary, Var)
from .sharing import Sharing, expressions, postorder

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_PLAIN = {"add": "+", "sub": "-", "mul": "*"}
_BITS = {"and": "&", "or": "|", "xor": "^"}
_INTEGER = {"div": "divide", "rem": "remainder", "floordiv": "floor_divide", "mod": "modulo"}


def run(kernel: Kernel, arrays: Mapping[str, np.ndarray], extents: Mapping[str, int] | None = None,
        backwards: bool = False, origins: Mapping[str, int] | None = None) -> None:
    """Run `kernel`; outputs are written in place.

    `arrays` has an array for each parameter by name: either of the buffer's shape, whatever its NumPy strides, or one
    dimension of memory in which the buffer's own strides count. A "workspace" that is not given is made. `extents` are
    the symbols' values. `backwards` runs parallel loops from their last iteration to the first: the results are the same if
    the iterations are independent. `origins` says by name which arrays are memory in any case, and where in it the first
    element lies: places with negative strides reach back from there. Raises ShapeError or DTypeError for arrays that do not fit,
    and VerifyError for an access outside of a buffer.
    """
    extents = dict(extents or {})
    missing = [s for s in kernel.symbols if s not in extents]
    if missing:
        raise ShapeError(f"kernel {kernel.name!r} needs the extent of {', '.join(missing)}")
    unknown = set(arrays) - {b.name for b in kernel.params}
    if unknown:
        raise ShapeError(f"kernel {kernel.name!r} has no parameter {', '.join(sorted(unknown))}")
    source = _Source(kernel.name, extents, backwards)
    origins = origins or {}
    for buffer in kernel.params:
        memory = _memory(kernel, buffer, arrays.get(buffer.name), extents, buffer.name in origins)
        source.add_memory(buffer, *memory, origins.get(buffer.name, 0))
    source.block(kernel.body)
    with np.errstate(all="ignore"):
        source.function()()


def evaluate_expr(e: Expr, env: Mapping[str, object]):
    """The value of an expression: `env` has a scalar for each variable and an array for each buffer, by name."""
    source = _Source("expression", {}, False)
    for part in postorder((e,)):
        if isinstance(part, Var):
            source.define(part, env[part.name])
        elif isinstance(part, Load) and not source.knows(part.buffer):
            source.add_memory(part.buffer, *_memory(None, part.buffer, np.asarray(env[part.buffer.name]), {}))
    source.result((e,))
    with np.errstate(all="ignore"):
        return source.function()()


def _memory(kernel, buffer: Buffer, array, extents,
            is_flat: bool = False) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    """A flat array, the buffer's shape, and the element strides that lead from an index into the flat array."""
    shape = tuple(evaluate(d, extents) for d in buffer.shape)
    strides = tuple(evaluate(d, extents) for d in buffer.strides)
    needed = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if all(shape) else 0
    if array is None:
        if buffer.role != "workspace":
            raise ShapeError(f"kernel {kernel.name!r} needs an array for {buffer.role} {buffer.name!r}")
        array = np.full(needed, _poison(buffer.dtype), buffer.dtype.numpy)
    if array.dtype != buffer.dtype.numpy:
        raise DTypeError(f"buffer {buffer.name!r} holds {buffer.dtype.name}, an array of {array.dtype} was given")
    if array.shape == shape and not is_flat:
        size = array.itemsize
        if any(s < 0 or s % size for s, n in zip(array.strides, shape) if n > 1):
            raise ShapeError(f"buffer {buffer.name!r}: an array of strides {array.strides} bytes was given",
                             hint="pass a copy: strides must be multiples of the element's size and not negative")
        strides = tuple(s // size for s in array.strides)
        needed = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if all(shape) else 0
        flat = np.lib.stride_tricks.as_strided(array, (needed,), (size,), writeable=array.flags.writeable)
    elif array.ndim == 1 and array.size >= needed:
        flat = array
    else:
        raise ShapeError(f"buffer {buffer.name!r} has the shape {shape} over {needed} elements, "
                         f"an array of shape {array.shape} was given")
    return flat, shape, strides


def _poison(dtype: DType):
    """What memory holds that nobody has written: a value that shows when it is used."""
    return dtype.numpy.type(np.nan) if dtype.is_float else True if dtype.is_bool else dtype.maximum // 3


class _Source:
    """Python source for a kernel or an expression, and the objects that it refers to."""

    def __init__(self, name: str, extents: Mapping[str, int], backwards: bool):
        self._name, self._backwards = name, backwards
        self._extents = dict(extents)
        self._lines: list[str] = ["def run():"]
        self._depth = 1
        self._names = 0
        self._vars: dict[str, str] = {s: repr(int(n)) for s, n in extents.items()}
        self._buffers: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], bool]] = {}
        self._origins: dict[str, int] = {}
        self._temporaries: dict[int, str] = {}
        self._sharing: Sharing | None = None
        self._constants: dict[tuple, str] = {}
        self._globals: dict[str, object] = {n: f for n, f in vars(arithmetic).items() if not n.startswith("_")}
        self._globals.update(outside=self._outside, select=lambda c, x, y: x if c else y)

    def function(self):
        text = "\n".join([*self._lines, "    return None" if len(self._lines) == 1 else ""])
        exec(compile(text, f"<kernel {self._name}>", "exec"), self._globals)
        return self._globals["run"]

    def _outside(self, buffer: str, shape, *index):
        place = f"{buffer}[{', '.join(map(str, index))}]"
        raise VerifyError(f"kernel {self._name!r} reaches {place}, outside of the shape {tuple(shape)}")

    def _fresh(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    def _emit(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    def _object(self, value, key: tuple | None = None) -> str:
        """The name under which the source sees `value`."""
        if key is not None and key in self._constants:
            return self._constants[key]
        name = self._fresh("g")
        self._globals[name] = value
        if key is not None:
            self._constants[key] = name
        return name

    # -- names
    def define(self, var: Var, value) -> None:
        self._vars[var.name] = self._object(_scalar(value, var.dtype))

    def knows(self, buffer: Buffer) -> bool:
        return buffer.name in self._buffers

    def add_memory(self, buffer: Buffer, flat: np.ndarray, shape, strides, origin: int = 0) -> None:
        if origin:
            self._origins[buffer.name] = origin
        self._buffers[buffer.name] = (self._object(flat), shape, strides, True)

    # -- statements
    def block(self, body: tuple[Stmt, ...]) -> None:
        for s in body:
            self.statement(s)

    def result(self, roots: tuple[Expr, ...]) -> None:
        self._share(roots)
        self._emit("return " + ", ".join(map(self.expr, roots)))

    def _share(self, roots: tuple[Expr, ...]) -> None:
        self._sharing, self._temporaries = Sharing(roots), {}
        for e in self._sharing.bound:
            text = self.expr(e)
            name = self._fresh("t")
            self._emit(f"{name} = {text}")
            self._temporaries[self._sharing.number(e)] = name

    def statement(self, s: Stmt) -> None:
        if isinstance(s, Prefetch):
            return
        self._share(expressions(s))
        match s:
            case For():
                name = self._vars[s.var.name] = self._fresh("v")
                extent = self.index(s.extent)
                backwards = self._backwards and s.kind == "parallel"
                self._emit(f"for {name} in " + (f"reversed(range({extent})):" if backwards else f"range({extent}):"))
                self._nested(s.body)
            case If():
                self._emit(f"if {self.expr(s.condition)}:")
                self._nested(s.then)
                if s.orelse:
                    self._emit("else:")
                    self._nested(s.orelse)
            case Let():
                value = self.expr(s.value)
                name = self._vars[s.var.name] = self._fresh("v")
                self._emit(f"{name} = {value}")
            case Alloc():
                b = s.buffer
                shape = tuple(evaluate(d, self._extents) for d in b.shape)
                strides = tuple(evaluate(d, self._extents) for d in b.strides)
                name = self._fresh("b")
                needed = 1 + sum((n - 1) * st for n, st in zip(shape, strides)) if all(shape) else 0
                self._emit(f"{name} = [{self._object(_poison(b.dtype), ('poison', b.dtype))}] * {needed}")
                self._buffers[b.name] = (name, shape, strides, False)
            case Store():
                self._emit(f"{self._place(s.buffer, s.index)} = {self.expr(s.value)}")
            case Choose():
                self._choose(s)
            case Accumulate():
                place = self._place(s.buffer, s.index)
                value = self._binary(s.op, s.buffer.dtype, self._read(s.buffer, place), self.expr(s.value))
                self._emit(f"{place} = {value}")
            case _:
                raise CompilerError(f"the kernel interpreter does not know the statement {type(s).__name__}")

    def _nested(self, body: tuple[Stmt, ...]) -> None:
        self._depth += 1
        self.block(body)
        self._emit("pass")
        self._depth -= 1

    # -- memory
    def _choose(self, s: Choose) -> None:
        found = [self._buffers[b.name] for b in s.choices]
        origins = {self._origins.get(b.name, 0) for b in s.choices}
        if len({(shape, strides) for _, shape, strides, _ in found}) > 1 or len(origins) > 1:
            raise ShapeError(f"kernel {self._name!r} chooses {s.buffer.name!r} from arrays of different strides")
        name, number = self._fresh("b"), self._fresh("i")
        self._emit(f"{number} = {self.index(s.number)}")
        self._emit(f"if not 0 <= {number} < {len(found)}: outside({s.buffer.name!r}, ({len(found)},), {number})")
        self._emit(f"{name} = ({', '.join(memory for memory, *_ in found)},)[{number}]")
        self._buffers[s.buffer.name] = (name, *found[0][1:])
        self._origins[s.buffer.name] = origins.pop()

    def _offset(self, buffer: Buffer, index: tuple[Expr, ...]) -> tuple[str, str, str]:
        """The offset of an element, a condition that holds inside of the shape (it runs first), and the error's call."""
        _, shape, strides, _ = self._buffers[buffer.name]
        origin = self._origins.get(buffer.name, 0)
        lowest = -origin if strides == (1,) else 0  # one axis may be several, made one
        terms, checks, names = [str(origin)] if origin else [], [], []
        for e, n, stride in zip(index, shape, strides, strict=True):
            if isinstance(e, Const) and 0 <= e.value < n:
                terms.append(str(e.value * stride))
                names.append(str(e.value))
                continue
            name = self._fresh("i")
            checks.append(f"({lowest} <= ({name} := {self.index(e)}) < {n})")
            terms.append(name if stride == 1 else f"{name} * {stride}")
            names.append(name)
        failure = f"outside({buffer.name!r}, {shape!r}, {', '.join(names)})"
        return " + ".join(terms) or "0", " & ".join(checks), failure  # & and not `and`: every name gets its value

    def _place(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
        """The element as something to assign to; its bounds are checked by a line of their own."""
        name = self._buffers[buffer.name][0]
        offset, check, failure = self._offset(buffer, index)
        if check:
            self._emit(f"if not ({check}): {failure}")
        return f"{name}[{offset}]"

    def _read(self, buffer: Buffer, place: str) -> str:
        is_array = self._buffers[buffer.name][3]
        return f"({place}).item()" if is_array and not buffer.dtype.is_float else place

    # -- expressions
    def index(self, e: Expr) -> str:
        """An i64 expression as plain Python integers: an address that overflows is outside of every buffer anyway."""
        is_sum = isinstance(e, Binary) and e.op in _PLAIN and e.dtype == int64
        if is_sum and self._sharing.number(e) not in self._temporaries:
            return f"({self.index(e.x)} {_PLAIN[e.op]} {self.index(e.y)})"
        return self.expr(e)

    def expr(self, e: Expr) -> str:
        temporary = self._temporaries.get(self._sharing.number(e))
        if temporary is not None:
            return temporary
        match e:
            case Const():
                if e.dtype.is_float:
                    return self._object(_scalar(e.value, e.dtype), ("float", repr(float(e.value)), e.dtype))
                return repr(_scalar(e.value, e.dtype)) if e.value >= 0 else f"({_scalar(e.value, e.dtype)!r})"
            case Var():
                return self._vars[e.name]
            case Load():
                offset, check, failure = self._offset(e.buffer, e.index)
                place = self._read(e.buffer, f"{self._buffers[e.buffer.name][0]}[{offset}]")
                return f"({place} if {check} else {failure})" if check else place
            case Unary():
                return self._unary(e.op, e.dtype, self.expr(e.x))
            case Binary():
                if e.op in ("floordiv", "mod") and e.dtype.is_integer and isinstance(e.y, Const) and e.y.value > 0:
                    return f"({self.expr(e.x)} {'//' if e.op == 'floordiv' else '%'} {self.expr(e.y)})"
                return self._binary(e.op, e.dtype, self.expr(e.x), self.expr(e.y))
            case Compare():
                return f"({self.expr(e.x)} {_COMPARE[e.op]} {self.expr(e.y)})"
            case Select():
                return f"select({self.expr(e.condition)}, {self.expr(e.x)}, {self.expr(e.y)})"
            case Fma():
                x, y, z = self.expr(e.x), self.expr(e.y), self.expr(e.z)
                return f"fma({x}, {y}, {z})" if e.dtype.is_float else self._wrapped(f"{x} * {y} + {z}", e.dtype)
            case Cast():
                return self._cast(e.x.dtype, e.dtype, self.expr(e.x))
            case Bitcast():
                return self._bitcast(e.x.dtype, e.dtype, self.expr(e.x))
        raise CompilerError(f"the kernel interpreter does not know the expression {type(e).__name__}")

    def _type(self, dtype: DType) -> str:
        return self._object(dtype.numpy.type, ("type", dtype))

    def _dtype(self, dtype: DType) -> str:
        return self._object(dtype, ("dtype", dtype))

    def _wrapped(self, text: str, dtype: DType) -> str:
        mask, half = (1 << dtype.bits) - 1, 1 << (dtype.bits - 1)
        return f"((({text}) + {half} & {mask}) - {half})" if dtype.kind == "int" else f"(({text}) & {mask})"

    def _unary(self, op: str, dtype: DType, x: str) -> str:
        if op == "not":
            return f"(not {x})" if dtype.is_bool else self._wrapped(f"~{x}", dtype)
        if op in ("neg", "abs"):
            text = f"-{x}" if op == "neg" else f"abs({x})"
            return f"({text})" if dtype.is_float else self._wrapped(text, dtype)
        return f"{self._function(op)}({x})"

    def _function(self, op: str) -> str:
        return self._object(arithmetic.function(op), ("function", op))

    def _binary(self, op: str, dtype: DType, x: str, y: str) -> str:
        if op in ("min", "max"):
            return f"{op}imum({x}, {y})"
        if op in _BITS:
            return f"({x} {_BITS[op]} {y})"
        if dtype.is_float:
            if op in _PLAIN or op == "div":
                return f"({x} {_PLAIN.get(op, '/')} {y})"
            name = {"mod": "float_modulo", "floordiv": "float_floor_divide"}.get(op) or self._function(op)
            return f"{name}({x}, {y})"
        if op in _PLAIN:
            return self._wrapped(f"{x} {_PLAIN[op]} {y}", dtype)
        if op in _INTEGER:
            return self._wrapped(f"{_INTEGER[op]}({x}, {y})", dtype)
        if op == "shl":
            return self._wrapped(f"shift_left({x}, {y}, {dtype.bits})", dtype)
        if op == "shr":
            return f"shift_right({x}, {y}, {dtype.bits})"
        if op == "pow":
            return f"integer_power({x}, {y}, {self._dtype(dtype)})"
        raise CompilerError(f"the kernel interpreter does not know {op} on {dtype.name}")

    def _cast(self, source: DType, target: DType, x: str) -> str:
        if source == target:
            return x
        if target.is_bool:
            return f"({x} != 0)"
        if target.is_float:
            if source.is_float:
                return f"{self._type(target)}({x})"
            return f"integer_to_float({x}, {self._type(target)})"
        if source.is_float:
            return f"float_to_integer({x}, {self._dtype(target)})"
        return f"int({x})" if source == bool_ else self._wrapped(x, target)

    def _bitcast(self, source: DType, target: DType, x: str) -> str:
        before, after = (self._object(d.numpy, ("numpy", d)) for d in (source, target))
        return f"bitcast({x}, {before}, {after})" + ("" if target.is_float else ".item()")


def _scalar(value, dtype: DType):
    """`value` as the interpreter holds values of `dtype`."""
    if dtype.is_float:
        return dtype.numpy.type(value)
    return bool(value) if dtype.is_bool else int(value)
