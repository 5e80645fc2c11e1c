"""Where does each instruction go?  Frames for loop levels, hoisting while emitting, registers as SSA values.

No LLVM pass pipeline runs afterwards, so what passes would do for kernels is done here: an expression is emitted at the
outermost loop level where its inputs exist, equal expression objects are emitted once, and register buffers become
SSA values with phis at loops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

from ...core.dtypes import DType
from ...kernel.ir import Binary, Bitcast, Cast, Compare, Const, Expr, Fma, Load, Select, Unary, Var
from .values import Val


@dataclass
class Frame:
    """One loop level (or branch): its lines, the label of the block they end in, what was computed at this level."""

    kind: str  # "function", "loop" or "if"
    label: str
    lines: list[str] = field(default_factory=list)
    memo: dict = field(default_factory=dict)


@dataclass(frozen=True)
class VectorLoop:
    """The innermost vector loop that is being emitted: its variable, lanes, and the mask of the last, partial vector."""

    var: Var
    width: int
    mask: Val | None = None
    is_single: bool = False  # whether the first lane alone is in use


class Emitter:
    """The state of one LLVM function under construction."""

    def __init__(self, target, written: frozenset[int], name: str, begin, finish, finished: list[str]):
        self.target = target
        self.written = written  # ids of buffers that this kernel stores to
        self.name = name
        self.begin = begin  # makes the state of another function of this kernel
        self.finish = finish  # takes a function that is done
        self.finished = finished
        self.frames = [Frame("function", "entry")]
        self.bindings: dict[str, Val] = {}
        self.definitions: dict[str, Expr] = {}
        self.version: dict[str, int] = {}
        self.pointers: dict[int, Val] = {}
        self.slots: dict[int, dict[int, Val]] = {}
        self.lane_registers: set[int] = set()
        self.partials: dict[int, dict] = {}  # accumulators of a vector loop: buffer -> offset -> lanes
        self.vector: VectorLoop | None = None
        self.varying: set[str] = set()
        self.declarations: set[str] = set()
        self.allocas: list[str] = []
        self.instance: int | str = 0
        self._instances = 0
        self.vector_instance = 0
        self._counter = 0
        self._versions = 0
        self._free: dict[int, tuple] = {}

    # ---- functions beside this one ----------------------------------------------------------------------------------
    def child(self) -> "Emitter":
        """The state of a function that this one calls: the same kernel parameters, registers of its own."""
        return self.begin()

    def outline(self, inner: "Emitter", parameters: str, body) -> str:
        """The name of a function with these parameters whose instructions `body` emits into `inner`."""
        body()
        name = f"{self.name}.f{len(self.finished)}"
        self.finished.append(name)
        self.finish(inner, f"define internal void @{name}({parameters}) #1")
        return name

    # ---- lines ---------------------------------------------------------------------------------------------------
    @property
    def level(self) -> int:
        return len(self.frames) - 1

    def fresh(self, prefix: str = "v") -> str:
        self._counter += 1
        return f"{prefix}{self._counter}"

    def line(self, text: str, level: int | None = None) -> None:
        self.frames[self.level if level is None else level].lines.append(text)

    def value(self, text: str, dtype: DType, lanes: int, level: int) -> Val:
        name = "%" + self.fresh()
        self.line(f"  {name} = {text}", level)
        return Val(name, dtype, lanes, level)

    def call(self, name: str, result: str, arguments: str) -> str:
        """The text of a call of the intrinsic `name`; it is declared and checked against the target's allow-list."""
        self.target.require_intrinsic(name)
        types = ", ".join(_argument_types(arguments))
        self.declarations.add(f"declare {result} @{name}({types})")
        return f"call {result} @{name}({arguments})"

    # ---- variables -------------------------------------------------------------------------------------------------
    def bind(self, var: Var, value: Val, definition: Expr | None = None, varies: bool = False) -> None:
        if value is not None and definition is None and not value.text.startswith("%"):
            self.version[var.name] = value.text  # equal constants (iterations of unrolled loops) share what they compute
        else:
            self._versions += 1
            self.version[var.name] = self._versions
        self.bindings[var.name] = value
        if definition is not None:
            self.definitions[var.name] = definition
        else:
            self.definitions.pop(var.name, None)
        (self.varying.add if varies else self.varying.discard)(var.name)

    def new_instance(self, base: Val, mask: Val | None) -> None:
        """Another vector's worth of a loop's body begins: what varies by lane is computed anew, unless its place is constant."""
        self._instances += 1
        constant = not base.text.startswith("%")
        self.instance = f"{base.text}/{'' if mask is None else mask.text}" if constant else self._instances

    def free(self, expr: Expr) -> tuple[frozenset[str], bool]:
        """The variables in `expr`, and whether it reads memory or registers that may change."""
        known = self._free.get(id(expr)) or self._read(expr)
        return known[1], known[2]

    def _read(self, expr: Expr) -> tuple[Expr, frozenset[str], bool, frozenset[int]]:
        """What `expr` depends on: the expression (kept, so that its id stays its own), variables, changing reads, registers."""
        names: frozenset[str] = frozenset((expr.name,)) if isinstance(expr, Var) else frozenset()
        reads, registers = False, frozenset()
        for child in children(expr):
            _, more, child_reads, child_registers = self._free.get(id(child)) or self._read(child)
            names, reads, registers = names | more, reads or child_reads, registers | child_registers
        if isinstance(expr, Load):
            if expr.buffer.space == "register":
                registers |= {id(expr.buffer)}
            reads = reads or bool(registers) or id(expr.buffer) in self.written
        result = self._free[id(expr)] = (expr, names, reads, registers)
        return result

    def varies(self, expr: Expr) -> bool:
        """Whether `expr` differs from lane to lane in the current vector loop."""
        if self.vector is None:
            return False
        names, _ = self.free(expr)
        return bool(names & self.varying) or self._reads_lanes(expr)

    def _reads_lanes(self, expr: Expr) -> bool:
        registers = (self._free.get(id(expr)) or self._read(expr))[3]
        return any(v.lanes > 1 for r in registers for v in self.slots[r].values())

    def memo_key(self, expr: Expr, lane_zero: bool):
        names, reads = self.free(expr)
        if reads:
            return None
        instance = self.instance if (names & self.varying) else 0
        return (id(expr), lane_zero, instance, *(self.version[n] for n in sorted(names)))

    def remembered(self, key) -> Val | None:
        for frame in self.frames:
            found = frame.memo.get(key)
            if found is not None:
                return found[0]
        return None

    def remember(self, key, value: Val, expr: Expr) -> None:
        # Inside a branch, what was emitted at the branch's own level does not dominate what follows it; frames are popped with it.
        self.frames[min(value.level, self.level)].memo[key] = (value, expr)

    # ---- affine structure --------------------------------------------------------------------------------------------
    def coefficient(self, expr: Expr) -> int | None:
        """d expr / d lane for an int64 expression in the current vector loop; None where it is not affine."""
        if not self.varies(expr):
            return 0
        if isinstance(expr, Var):
            if expr.name == self.vector.var.name:
                return 1
            definition = self.definitions.get(expr.name)
            return None if definition is None else self.coefficient(definition)
        if isinstance(expr, Binary):
            if expr.op in ("add", "sub"):
                a, b = self.coefficient(expr.x), self.coefficient(expr.y)
                return None if a is None or b is None else (a + b if expr.op == "add" else a - b)
            if expr.op == "mul":
                for x, y in ((expr.x, expr.y), (expr.y, expr.x)):
                    if isinstance(y, Const):
                        a = self.coefficient(x)
                        return None if a is None else a * y.value
        return None

    def lane_offsets(self, expr: Expr) -> tuple[list[int], int] | None:
        """(how far each lane's value of an int64 expression is from the first lane's, a number that divides the first
        lane's, 0 where that is 0); None where the distances are not known."""
        found = self._lane_offsets(expr)
        return ([0] * self.vector.width, 1) if found is None and not self.varies(expr) else found

    def _lane_offsets(self, expr: Expr) -> tuple[list[int], int] | None:
        if isinstance(expr, Const):
            return [0] * self.vector.width, abs(expr.value)
        if isinstance(expr, Var):
            if expr.name == self.vector.var.name:
                return list(range(self.vector.width)), self.vector.width  # loops go in whole vectors from 0
            definition = self.definitions.get(expr.name)
            return None if definition is None else self.lane_offsets(definition)
        if not isinstance(expr, Binary):
            return None
        x, y = self.lane_offsets(expr.x), self.lane_offsets(expr.y)
        if x is None or y is None:
            return None
        (a, divisor), (b, other) = x, y
        if expr.op in ("add", "sub"):
            sign = 1 if expr.op == "add" else -1
            return [i + sign * j for i, j in zip(a, b)], gcd(divisor, other)
        if expr.op == "mul" and isinstance(expr.x, Const):
            return [expr.x.value * j for j in b], divisor * other
        if not isinstance(expr.y, Const):
            return None
        if expr.op == "mul":
            return [i * expr.y.value for i in a], divisor * other
        if expr.op not in ("floordiv", "mod") or expr.y.value <= 0 or divisor % expr.y.value != 0:
            return None
        return ([i // other for i in a], divisor // other) if expr.op == "floordiv" else ([i % other for i in a], 0)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct operands of an expression."""
    if isinstance(expr, Load):
        return expr.index
    if isinstance(expr, (Unary, Cast, Bitcast)):
        return (expr.x,)
    if isinstance(expr, (Binary, Compare)):
        return (expr.x, expr.y)
    if isinstance(expr, Select):
        return (expr.condition, expr.x, expr.y)
    if isinstance(expr, Fma):
        return (expr.x, expr.y, expr.z)
    return ()


def _argument_types(arguments: str) -> list[str]:
    """The types of "type value, type value" (vector types hold no comma)."""
    types = []
    for argument in arguments.split(", "):
        argument = argument.strip()
        end = argument.index(">") + 1 if argument.startswith("<") else argument.index(" ")
        types.append(argument[:end])
    return types
