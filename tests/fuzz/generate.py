"""What does a random model look like?  Small typed graphs over most operators, with arrays on which results can be
compared.

Numbers are small and whole where they enter, and operators that would leave them large or undefined are not applied, so
that differences in rounding stay small. Operators that jump (rounding, comparison, arg-max …) are applied only to
values that every correct compiler computes exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from lamina.compiler.core.dims import Dim, evaluate, symbol
from lamina.compiler.core.dtypes import DType, as_dtype
from lamina.compiler.core.errors import LaminaError
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import Graph, Value
from lamina.compiler.ops import (Abs, Add, And, ArgReduce, Broadcast, Cast, Ceil, Compare, Concat, Contract, Conv, Cos,
                                 Cumulative, Div, DynamicSlice, Exp, Floor, Iota, Max, Min, Mul, Neg, Not, Op, Or, Pad,
                                 Pool, Pow, Reduce, Reshape, Round, Rsqrt, Select, Sigmoid, Sign, Sin, Slice, Sort,
                                 Sqrt, Sub, Take, TakeAlong, Tanh, Transpose, Trunc, Xor)

LARGEST = 3000  # elements of a value
HIGHEST = 1e5  # magnitude of a value
EXACT = 1 << 20  # whole numbers below this are exact in every float that is used


class Choices:
    """Where decisions come from: `integer(low, high)`, both included. Hypothesis and NumPy's generators both serve."""

    def __init__(self, integer: Callable[[int, int], int]):
        self.integer = integer

    def one_of(self, options: Sequence):
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent


def seeded(seed: int) -> Choices:
    """Choices that are the same for the same seed."""
    rng = np.random.default_rng(seed)
    return Choices(lambda low, high: int(rng.integers(low, high + 1)))


@dataclass
class Known:
    """What the generator knows of a value: the array that it is for the chosen arguments, and whether that is exact."""

    array: np.ndarray
    exact: bool


def _is_exact(array: np.ndarray) -> bool:
    """Whether the numbers are small multiples of a quarter: sums and products of such are exact."""
    if array.dtype.kind in "biu":
        return True
    return bool(np.all((array * 4 == np.round(array * 4)) & (np.abs(array) < EXACT)))


class Generator:
    """Grows one graph."""

    def __init__(self, choices: Choices, symbolic: bool = True):
        self.c = choices
        self.builder = Builder("fuzzed", fold=False)
        self.arrays: list[np.ndarray] = []
        self.known: dict[Value, Known] = {}
        self.values: list[Value] = []
        self.symbols = {symbol("n", 1, 8): 3, symbol("m", 2, 16, 2): 4} if symbolic and choices.chance(35) else {}
        self.extents = {d.terms[0][0][0].name: extent for d, extent in self.symbols.items()}
        self.rng = np.random.default_rng(choices.integer(0, 1 << 16))

    # ---- sources
    def dim(self) -> Dim:
        if self.symbols and self.c.chance(40):
            return self.c.one_of(list(self.symbols))
        return self.c.one_of((1, 1, 2, 3, 4, 5, 7, 8) if not self.c.chance(4) else (0, 16, 33))

    def dtype(self) -> DType:
        others = ("int32", "int32", "int64", "uint8", "bool", "bool")
        return as_dtype(self.c.one_of(("float32",) * 6 + ("float64",) * 4 + others))

    def shape(self) -> tuple[Dim, ...]:
        return tuple(self.dim() for _ in range(self.c.one_of((0, 1, 1, 2, 2, 2, 3, 3, 4))))

    def draw(self, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
        if dtype.is_bool:
            return self.rng.integers(0, 2, shape).astype(bool)
        return self.rng.integers(0 if dtype.kind == "uint" else -3, 4, shape).astype(dtype.numpy)

    def at(self, shape: tuple[Dim, ...]) -> tuple[int, ...]:
        return tuple(evaluate(d, self.extents) for d in shape)

    def remember(self, value: Value, array: np.ndarray, exact: bool) -> Value:
        self.known[value] = Known(array, exact)
        self.values.append(value)
        return value

    def parameter(self, shape: tuple[Dim, ...]) -> Value:
        t = TensorType(shape, self.dtype())
        array = self.draw(self.at(t.shape), t.dtype)
        value = self.builder.parameter(t, f"p{len(self.arrays)}")
        self.arrays.append(array)
        return self.remember(value, array, True)

    def constant(self, shape: tuple[int, ...], dtype: DType) -> Value:
        array = self.draw(shape, dtype)
        if self.c.chance(40):
            array = np.full(shape, self.c.one_of((0, 1, -1, 2, 3) if dtype.is_signed else (0, 1, 2)), dtype.numpy)
        if dtype.is_float and self.c.chance(30):
            array = array * dtype.numpy.type(0.5)
        value = self.builder.constant(array)
        if value not in self.known:
            self.remember(value, array, True)
        return value

    def pick(self, where: Callable[[Value], bool] = lambda v: True) -> Value | None:
        found = [v for v in self.values[-24:] if where(v)]
        return self.c.one_of(found) if found else None

    def like(self, x: Value) -> Value:
        """An operand of x's type: another value, x itself, a broadcast one, or a constant."""
        same = [v for v in self.values if v.type == x.type]
        if self.c.chance(50) and len(same) > 1:
            return self.c.one_of(same)
        if self.c.chance(10):
            return x
        axes = tuple(i for i in range(x.type.rank) if self.c.chance(40))
        smaller = [v for v in self.values if v.dtype == x.dtype and v.shape == tuple(x.shape[a] for a in axes)]
        if smaller and self.c.chance(40):
            small = self.c.one_of(smaller)
        elif all(isinstance(x.shape[a], int) for a in axes):
            small = self.constant(tuple(x.shape[a] for a in axes), x.dtype)
        else:
            small, axes = self.constant((), x.dtype), ()
        return self.apply(Broadcast(x.shape, axes), small) if small.shape != x.shape else small

    # ---- application
    def apply(self, op: Op, *operands: Value, exact: bool = True) -> Value | None:
        """op's first result where it is legal and tame, else None. `exact` says that it is computed without rounding.
        """
        try:
            types = op.infer(*(o.type for o in operands))
        except LaminaError:
            return None
        if any(t.rank > 4 or np.prod(self.at(t.shape), dtype=np.int64) > LARGEST for t in types):
            return None
        with np.errstate(all="ignore"):
            arrays = op.at_extents(self.extents).evaluate(*(self.known[o].array for o in operands))
        for array in arrays:
            if array.dtype.kind not in "b" and array.size and not np.abs(array.astype(np.float64)).max() <= HIGHEST:
                return None
        exact = exact and all(self.known[o].exact for o in operands)
        results = self.builder.emit_all(op, *operands)
        for value, array in zip(results, arrays):
            if value not in self.known:
                self.remember(value, array, exact and _is_exact(array))
        return results[0]

    def step(self) -> None:
        """One more op, if the drawn one fits somewhere."""
        getattr(self, "step_" + self.c.one_of(STEPS))()

    def numbers(self, low: float = -np.inf, high: float = np.inf, exact: bool = False,
                floats: bool = True) -> Value | None:
        """A value of numbers (floats alone, or any) within bounds, exact if need be."""
        def fits(v: Value) -> bool:
            known = self.known[v]
            if v.dtype.is_bool or floats and not v.dtype.is_float or exact and not known.exact:
                return False
            return known.array.size == 0 or low <= known.array.min() and known.array.max() <= high
        return self.pick(fits)

    def step_unary(self) -> None:
        kind = self.c.integer(0, 3)
        if kind == 0:
            op, x = self.c.one_of((Neg(), Abs(), Neg())), self.numbers(floats=False)
            if x is not None:
                self.apply(op, x)
        elif kind == 1:
            if (x := self.numbers(-8, 8)) is not None:
                self.apply(self.c.one_of((Tanh(), Sigmoid(), Exp(), Sin(), Cos())), x, exact=False)
        elif kind == 2:
            if (x := self.numbers(0.05, 1e4)) is not None:
                self.apply(self.c.one_of((Sqrt(), Rsqrt())), x, exact=False)
        elif (x := self.numbers(exact=True)) is not None:
            self.apply(self.c.one_of((Floor(), Ceil(), Round(), Trunc(), Sign())), x)

    def step_binary(self) -> None:
        if (x := self.numbers(floats=False)) is not None and (y := self.like(x)) is not None:
            operands = (x, y) if self.c.chance(70) else (y, x)
            self.apply(self.c.one_of((Add(), Sub(), Mul(), Add(), Mul(), Max(), Min())), *operands)

    def step_divide(self) -> None:
        if (x := self.numbers()) is None:
            return
        if self.c.chance(30):
            power = self.builder.constant(np.asarray(self.c.one_of((0, 1, 2, 3, 0.5, -1, -0.5, 2.5)), x.dtype.numpy))
            self.known.setdefault(power, Known(power.op.array, True))
            if (base := self.numbers(0.2, 8)) is not None and base.dtype == power.dtype:
                power = self.apply(Broadcast(base.shape, ()), power) if base.shape else power
                self.apply(Pow(), base, power, exact=False)
        elif (y := self.like(x)) is not None and np.all(np.abs(self.known[y].array) >= 0.2):
            self.apply(Div(), x, y, exact=False)

    def step_logic(self) -> None:
        if self.c.chance(50):
            x = self.pick(lambda v: self.known[v].exact)
            if x is not None and (y := self.like(x)) is not None and self.known[y].exact:
                self.apply(Compare(self.c.one_of(("eq", "ne", "lt", "le", "gt", "ge"))), x, y)
            return
        condition = self.pick(lambda v: v.dtype.is_bool)
        if condition is None:
            return
        if self.c.chance(50):
            same = self.pick(lambda v: v.shape == condition.shape)
            if (other := self.like(same)) is not None:
                self.apply(Select(), condition, same, other)
        elif self.c.chance(30):
            self.apply(Not(), condition)
        elif (y := self.like(condition)) is not None:
            self.apply(self.c.one_of((And(), Or(), Xor(), Add(), Mul())), condition, y)

    def step_cast(self) -> None:
        x = self.pick()
        to = self.dtype()
        if self.known[x].exact or to.is_float and x.dtype.is_float:
            self.apply(Cast(to), x)

    def step_view(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0) or self.pick()
        rank = x.type.rank
        kind = self.c.integer(0, 5)
        if kind == 0:
            order = list(range(rank))
            for i in range(rank - 1, 0, -1):
                j = self.c.integer(0, i)
                order[i], order[j] = order[j], order[i]
            self.apply(Transpose(tuple(order)), x)
        elif kind == 1:
            self.apply(Reshape(self.regrouped(x.shape)), x)
        elif kind == 2:
            kept = [i for i, d in enumerate(x.shape)]
            shape = list(x.shape)
            at = self.c.integer(0, rank)
            shape.insert(at, self.dim())
            self.apply(Broadcast(tuple(d if d != 1 or self.c.chance(50) else self.dim() for d in shape),
                                 tuple(i if i < at else i + 1 for i in kept)), x)
        elif kind == 3:
            self.slice(x)
        elif kind == 4:
            low, high = (tuple(self.c.one_of((0, 0, 1, 2)) for _ in range(rank)) for _ in range(2))
            self.apply(Pad(low, high, self.c.one_of((0, 0, 1))), x)
        elif rank:
            axis = self.c.integer(0, rank - 1)
            others = [v for v in self.values if v.dtype == x.dtype and v.type.rank == rank
                      and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape)) if i != axis)]
            self.apply(Concat(axis), *(self.c.one_of(others) for _ in range(self.c.integer(1, 3))))

    def regrouped(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """Another shape of as many elements: neighbours joined, an axis split, units added and dropped."""
        dims = [d for d in shape if d != 1 or self.c.chance(50)]
        if len(dims) > 1 and self.c.chance(50):
            at = self.c.integer(0, len(dims) - 2)
            dims[at:at + 2] = [dims[at] * dims[at + 1]]
        splits = [(i, p) for i, d in enumerate(dims) if isinstance(d, int) and d > 1 for p in (2, 3) if d % p == 0]
        if splits and self.c.chance(50):
            at, p = self.c.one_of(splits)
            dims[at:at + 1] = [p, dims[at] // p]
        if self.c.chance(50):
            dims.insert(self.c.integer(0, len(dims)), 1)
        return tuple(dims)

    def slice(self, x: Value) -> None:
        starts, sizes, steps = [], [], []
        for d in x.shape:
            if not isinstance(d, int) or d == 0 or self.c.chance(40):
                starts.append(0), sizes.append(d), steps.append(1)
                continue
            step = self.c.one_of((1, 1, 1, 2, -1, -2))
            start = self.c.integer(0, d - 1)
            room = (d - 1 - start if step > 0 else start) // abs(step) + 1
            starts.append(start), sizes.append(self.c.integer(1, room)), steps.append(step)
        self.apply(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)

    def step_reduce(self) -> None:
        if (x := self.numbers(floats=False)) is None or not x.type.rank:
            return
        kind = self.c.one_of(("sum", "sum", "max", "min"))
        if kind != "sum" and any(d == 0 for d in self.known[x].array.shape):
            return
        if self.c.chance(20):
            self.apply(Cumulative(kind, self.c.integer(0, x.type.rank - 1), self.c.chance(50), False), x)
        else:
            self.apply(Reduce(kind, tuple(i for i in range(x.type.rank) if self.c.chance(50))), x)

    def step_contract(self) -> None:
        """Random letters: x's are new ones, y's some of x's and one of its own."""
        if (x := self.numbers(floats=False)) is None:
            return
        left = "abcd"[:x.type.rank]
        y = self.numbers(floats=False)
        letters, taken = "", set()
        for d in y.shape:
            options = [c for c, e in zip(left, x.shape) if e == d and c not in taken]
            letter = self.c.one_of(options) if options and self.c.chance(80) else "wxyz"[len(taken)]
            taken.add(letter)
            letters += letter
        result = [c for c in dict.fromkeys(left + letters) if self.c.chance(55)]
        for i in range(len(result) - 1, 0, -1):
            j = self.c.integer(0, i)
            result[i], result[j] = result[j], result[i]
        if y.dtype == x.dtype and not x.dtype.is_bool:
            self.apply(Contract(f"{left},{letters}->{''.join(result)}"), x, y)

    def step_matmul(self) -> None:
        """A layer: x times constant weights, scaled and biased by constants."""
        x = self.pick(lambda v: v.dtype.is_float and v.type.rank >= 1 and isinstance(v.shape[-1], int) and v.shape[-1])
        if x is None:
            return
        rows, out = "abcd"[:x.type.rank - 1], self.c.one_of((1, 2, 3, 8))
        weights = self.constant((x.shape[-1], out), x.dtype)
        y = self.apply(Contract(f"{rows}k,kz->{rows}z"), x, weights)
        self.affine(y, out)

    def affine(self, y: Value | None, channels: int) -> None:
        for _ in range(self.c.integer(0, 3)):
            if y is not None:
                factor = self.apply(Broadcast(y.shape, (y.type.rank - 1,)), self.constant((channels,), y.dtype))
                y = self.apply(self.c.one_of((Add(), Mul())), y, factor)

    def step_conv(self) -> None:
        x = self.pick(lambda v: v.dtype.is_float and 3 <= v.type.rank <= 4
                      and all(isinstance(d, int) and d for d in v.shape[1:]))
        if x is None:
            return
        spatial = x.type.rank - 2
        if self.c.chance(30):
            self.apply(Pool(self.c.one_of(("max", "sum")), (2,) * spatial, (self.c.one_of((1, 2)),) * spatial,
                            ((0, 0),) * spatial, (1,) * spatial), x)
            return
        padded = self.apply(Pad((0, *(1,) * spatial, 0), (0, *(1,) * spatial, 0)), x) if self.c.chance(30) else x
        kernel, out = self.c.one_of((1, 2, 3)), self.c.one_of((1, 2, 4))
        weights = self.constant((*(kernel,) * spatial, x.shape[-1], out), x.dtype)
        padding = ((self.c.one_of((0, 1)), self.c.one_of((0, 1))),) * spatial
        y = self.apply(Conv((self.c.one_of((1, 1, 2)),) * spatial, padding, (1,) * spatial), padded or x, weights)
        self.affine(y, out)

    def step_lookup(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0 and 0 not in v.shape)
        if x is None:
            return
        axis, kind = self.c.integer(0, x.type.rank - 1), self.c.integer(0, 4)
        if kind == 0:
            start, count = self.c.integer(0, 3), self.c.integer(1, 4)
            places = np.arange(start, start + count) if self.c.chance(60) else self.rng.integers(0, 6, (count, 2))
            indices = self.builder.constant(places)
            self.known.setdefault(indices, Known(places, True))
            self.apply(Take(axis), x, indices)
        elif kind == 1:
            if (indices := self.pick(lambda v: v.dtype.name in ("int32", "int64"))) is not None:
                self.apply(Take(axis), x, indices)
        elif kind == 2 and self.known[x].exact and not x.dtype.is_bool:
            self.apply(self.c.one_of((ArgReduce("max", axis), ArgReduce("min", axis), Sort(axis))), x)
        elif kind == 3:
            ramp = self.apply(Iota(x.shape, axis))
            if ramp is not None:
                self.apply(TakeAlong(axis), x, ramp)
        elif x.type.is_static:
            starts = []
            for _ in x.shape:
                at = np.asarray(self.c.integer(-1, 4))
                starts.append(self.builder.constant(at))
                self.known.setdefault(starts[-1], Known(at, True))
            self.apply(DynamicSlice(tuple(self.c.integer(1, d) for d in x.shape)), x, *starts)

    def finish(self) -> tuple[Graph, list[np.ndarray]]:
        """The graph whose results are values that nothing reads, and one more; and an array for each parameter."""
        read = {o for node in self.builder.nodes for o in node.operands}
        unread = [v for v in self.values if v not in read and v.node is not None]
        results = list(dict.fromkeys([*unread[-6:], self.pick()]))
        return self.builder.finish(results, [f"r{i}" for i in range(len(results))]), self.arrays


STEPS = (*["unary"] * 3, *["binary"] * 3, *["divide"] * 2, "logic", "cast", *["view"] * 4, *["reduce"] * 2, "contract",
         *["matmul"] * 2, *["conv"] * 2, "lookup")


def random_graph(choices: Choices, steps: int = 18, symbolic: bool = True) -> tuple[Graph, list[np.ndarray]]:
    """A graph of about `steps` ops, and an array for each of its parameters."""
    generator = Generator(choices, symbolic)
    for extent in generator.symbols:  # an argument tells each extent
        generator.parameter((extent,))
    for _ in range(choices.integer(1, 3)):
        generator.parameter(generator.shape())
    for _ in range(steps):
        generator.step()
    return generator.finish()
