"""How is a program written down?  print_program and parse_program, exact inverses.

    program digits symbols(batch=1..64) {
      input 0 image: f32[batch, 1, 8, 8]
      output 0 logits: f32[batch, 10]
      constant 0 "conv1.weight": f32[144]@2b5fb8c1…
      slot 0 "padding": 400*batch bytes at 0, live 5..9  # model.py:12
      slot 1 "conv1": 6400*batch bytes at 25600, live 7..12, above (0)
      arena 435200 bytes, lower bound 435200 bytes at step 9, symbolic
      kernel 0 k0_fill "fill"
      step 5: k0_fill() -> (slot 0 "padding": f32[batch, 1, 10, 1] strides(100, 10, 1, 1))  # model.py:12
      loop loop.1 in 7 {
        step 9: …
        while slot 3 "condition": bool[]
      }
      branch input 1 which {
        case 0 {
        }
      }
    }

A place is a storage, `[its offset in elements]`, its type and its strides. What is left out is that of the whole: no
offset is 0, no strides are row-major, no type is that of the input, output or constant. Steps before a `while` run
before each test of its condition. Constants are named by digest and live beside the text; kernels follow it or live
beside it. `#` starts a comment, as in the text of graphs.
"""

from __future__ import annotations

import json
import re
from typing import Iterable, Mapping

import numpy as np

from ..core.dims import Symbol, parse_symbol
from ..core.dtypes import as_dtype
from ..core.errors import FormatError, LaminaError
from ..core.types import TensorType
from ..graph.literals import LiteralParser
from ..graph.tokens import Tokens, format_location, format_name
from ..kernel.ir import Kernel, row_major
from ..kernel.text import parse_kernel, print_kernel
from ..ops.constant import Constant
from .program import (Branch, Launch, Loop, MemoryPlan, Place, Port, Program, Slot, Step, Storage, arena_storages,
                      places_of)

WIDTH = 120


# ---- printing --------------------------------------------------------------------------------------------------------
def print_program(program: Program, kernels: bool = False) -> str:
    """The text of `program`; with `kernels` theirs follows it.

    `parse_program` reads it back, given `program_constants(program)`, and `program.kernels` where their text does not
    follow.
    """
    text = "\n".join(_Printer(program).lines()) + "\n"
    return "\n".join([text, *map(print_kernel, program.kernels)]) if kernels else text


def program_constants(program: Program) -> dict[str, np.ndarray]:
    """The arrays of a program by the digests under which its text names them."""
    return {Constant(array).digest: array for array in program.constants}


def print_step(program: Program, step: Step) -> str:
    """One step on its own: for messages."""
    return "\n".join(_Printer(program).step(step, ""))


def print_place(program: Program, place: Place) -> str:
    """A place on its own: for messages."""
    return _Printer(program).place(place)


class _Printer:
    def __init__(self, program: Program):
        self._program = program
        slots = [slot.storage for slot in program.plan.slots] if program.plan is not None else arena_storages(program)
        self._slots = slots
        self._numbers = {id(storage): i for i, storage in enumerate(slots)}
        self._labels = {storage.index: storage.label for storage in _constant_storages(program)}

    def lines(self) -> list[str]:
        program = self._program
        head = f"program {format_name(program.name)}"
        if program.symbols:
            head += f" symbols({', '.join(map(_format_symbol, program.symbols))})"
        lines = [head + " {"]
        for kind, ports in (("input", program.inputs), ("output", program.outputs)):
            lines += [f"  {kind} {i} {format_name(port.name)}: {port.type}" + _shared(port) for i, port in enumerate(ports)]
        for i, array in enumerate(program.constants):
            label = _quoted(self._labels.get(i, ""))
            lines.append(f"  constant {i}{label}: {_array_type(array)}@{Constant(array).digest}")
        lines += [f"  {self.slot(i, storage)}" for i, storage in enumerate(self._slots)]
        plan = program.plan
        if plan is not None:
            lines.append(f"  arena {plan.arena_bytes} bytes, lower bound {plan.lower_bound} bytes at step "
                         f"{plan.peak_step}{', symbolic' if plan.is_symbolic else ''}")
        for i, (kernel, label) in enumerate(zip(program.kernels, _kernel_labels(program))):
            lines.append(f"  kernel {i} {format_name(kernel.name)}{_quoted(label)}")
        for step in program.steps:
            lines += self.step(step, "  ")
        return [*lines, "}"]

    def slot(self, number: int, storage: Storage) -> str:
        text = f"slot {number}{_quoted(storage.label)}: {storage.size} bytes"
        slot = self._program.plan.slots[number] if self._program.plan is not None else None
        text += f" at {slot.offset}" if slot is not None else ""
        text += f", live {storage.first}..{storage.last}" if storage.last >= 0 else ""
        text += f", above ({', '.join(map(str, slot.above))})" if slot is not None and slot.above else ""
        return text + _location(storage)

    def step(self, step: Step, indent: str) -> list[str]:
        inner = indent + "  "
        if isinstance(step, Launch):
            return self.launch(step, indent)
        if isinstance(step, Loop):
            head = f"{indent}loop {step.counter.name}" + (f" in {step.trip} {{" if step.trip is not None else " {")
            lines = [head, *(line for s in step.before for line in self.step(s, inner))]
            lines += [f"{inner}while {self.place(step.condition)}"] if step.condition is not None else []
            return [*lines, *(line for s in step.steps for line in self.step(s, inner)), indent + "}"]
        lines = [f"{indent}branch {self.place(step.index)} {{"]
        for i, steps in enumerate(step.branches):
            lines += [f"{inner}case {i} {{", *(line for s in steps for line in self.step(s, inner + "  ")), inner + "}"]
        return [*lines, indent + "}"]

    def launch(self, launch: Launch, indent: str) -> list[str]:
        kernel = self._program.kernels[launch.kernel]
        label = "" if launch.label == _kernel_labels(self._program)[launch.kernel] else _quoted(launch.label)
        head = f"{indent}step {launch.step}: {format_name(kernel.name)}{label}"
        count = next((i for i, b in enumerate(kernel.params) if b.role not in ("in", "constant")), len(kernel.params))
        places = [self.place(p) for p in launch.places]
        text = f"{head}({', '.join(places[:count])}) -> ({', '.join(places[count:])})"
        if len(text) > WIDTH:
            comma = f",\n{indent}    "
            reads, writes = (f"({comma[1:]}{comma.join(part)})" if part else "()"
                             for part in (places[:count], places[count:]))
            text = f"{head}{reads} -> {writes}"
        return [text + _location(launch)]

    def place(self, place: Place) -> str:
        storage = place.storage
        declared = None
        if storage.kind == "arena":
            if id(storage) not in self._numbers:
                raise FormatError(f"storage {storage.label!r} has no slot in program {self._program.name!r}")
            text = f"slot {self._numbers[id(storage)]}{_quoted(storage.label)}"
        elif storage.kind == "constant":
            text = f"constant {storage.index}{_quoted(storage.label)}"
            declared = _array_type(self._program.constants[storage.index])
        else:
            port = (self._program.inputs if storage.kind == "input" else self._program.outputs)[storage.index]
            text, declared = f"{storage.kind} {storage.index} {format_name(port.name)}", port.type
        offset = "" if isinstance(place.offset, int) and place.offset == 0 else f"[{place.offset}]"
        type = TensorType(place.shape, place.dtype)
        is_dense = place.strides == row_major(place.shape)
        if type == declared and is_dense and not offset:
            return text
        return f"{text}{offset}: {type}" + ("" if is_dense else f" strides({', '.join(map(str, place.strides))})")


def _shared(port: Port) -> str:
    return f" shares input {port.shares}" if port.shares is not None else ""


def _quoted(label: str) -> str:
    return f" {json.dumps(label)}" if label else ""


def _location(thing) -> str:
    return format_location(thing.location) if thing.location is not None else ""


def _format_symbol(s: Symbol) -> str:
    return s.name if s == Symbol(s.name) else f"{s.name}={s.facts()}"


def _array_type(array: np.ndarray) -> TensorType:
    return TensorType(tuple(array.shape), as_dtype(array.dtype))


def _kernel_labels(program: Program) -> tuple[str, ...]:
    return program.labels or ("",) * len(program.kernels)


def _constant_storages(program: Program) -> Iterable[Storage]:
    return (p.storage for p in places_of(program.steps) if p.storage.kind == "constant")


# ---- parsing ---------------------------------------------------------------------------------------------------------
def parse_program(text: str, kernels: Iterable[Kernel] | None = None,
                  constants: Mapping[str, np.ndarray] | None = None) -> Program:
    """The program that `text` spells. `kernels` are those whose text does not follow; `constants` the arrays by digest.

    FormatError, with line and column, where the text can't be read, and where kernels or constants are missing.
    """
    end = re.search(r"^\}[ \t]*$", text, re.MULTILINE)
    split = end.end() if end else len(text)
    known = {kernel.name: kernel for kernel in kernels or ()}
    for part in re.split(r"^(?=kernel )", text[split:], flags=re.MULTILINE):
        if part.strip():
            kernel = parse_kernel(part)
            known[kernel.name] = kernel
    tokens = Tokens(text[:split], "program text")
    missing = dict.fromkeys(token[1:] for kind, token, _, _ in tokens.tokens
                            if kind == "hash" and token[1:] not in (constants or {}))
    if missing:
        raise FormatError(f"program text names {len(missing)} constants that were not given: {', '.join(missing)}",
                          hint="pass the arrays that program_constants() gave when the text was made")
    parser = _Parser(tokens, constants or {})
    program = parser.program(known)
    if tokens.kind() != "end":
        tokens.fail(f"the end of the program was expected, not {tokens.shown()}")
    return program


class _Parser(LiteralParser):
    def program(self, kernels: Mapping[str, Kernel]) -> Program:
        tokens = self.tokens
        tokens.expect("program")
        name = tokens.name("the program's name")
        if tokens.accept("symbols"):
            self._symbols()
        declared = tuple(self.symbols.values())
        tokens.expect("{")
        self.ports: dict[str, list[Port]] = {"input": [], "output": []}
        self.storages: dict[str, list[Storage]] = {"input": [], "output": [], "constant": [], "slot": []}
        self.types: dict[int, TensorType] = {}  # of inputs, outputs and constants, by the storage's id
        self.arrays: list[np.ndarray] = []
        self.slots: list[tuple[int | None, tuple[int, ...]]] = []
        self.kernels: dict[str, int] = {}
        self.labels: list[str] = []
        plan: tuple[int, int, int, bool] | None = None
        while word := tokens.accept("input", "output", "constant", "slot", "arena", "kernel"):
            if word in self.ports:
                self.port(word)
            elif word == "constant":
                self.constant()
            elif word == "slot":
                self.slot()
            elif word == "arena":
                plan = self.arena()
            else:
                self.kernel(kernels)
        steps = self.steps()
        slots = tuple(Slot(storage, *found) for storage, found in zip(self.storages["slot"], self.slots))
        return Program(name, tuple(kernels[k] for k in self.kernels), tuple(self.arrays), steps,
                       MemoryPlan(slots, *plan) if plan is not None else None, tuple(self.ports["input"]),
                       tuple(self.ports["output"]), declared, tuple(self.labels))

    def _symbols(self) -> None:
        first = self.tokens.at
        for text in self.tokens.skip("(", ")")[0].split(","):
            try:
                found = parse_symbol(text)
            except LaminaError as error:
                self.tokens.fail(error.message, first)
            self.symbols[found.name] = found

    # -- declarations
    def number(self) -> int:
        tokens = self.tokens
        if tokens.kind() != "number" or not tokens.peek().isdigit():
            tokens.fail(f"a number was expected, not {tokens.shown()}")
        return int(tokens.take())

    def next_number(self, what: str, expected: int) -> None:
        first = self.tokens.at
        if self.number() != expected:
            self.tokens.fail(f"{what} {expected} was expected", first)

    def label(self) -> str:
        return self.tokens.string() if self.tokens.kind() == "string" else ""

    def port(self, kind: str) -> None:
        found = self.ports[kind]
        self.next_number(kind, len(found))
        name = self.tokens.name(f"the {kind}'s name")
        self.tokens.expect(":")
        type = self.type()
        shares = self.tokens.accept("shares") and self.tokens.expect("input") and self.number()
        port = Port(name, type, shares)
        storage = Storage(kind, len(found), port.type.nbytes, name)
        self.types[id(storage)] = port.type
        self.storages[kind].append(storage)
        found.append(port)

    def constant(self) -> None:
        tokens = self.tokens
        self.next_number("constant", len(self.arrays))
        label = self.label()
        tokens.expect(":")
        first, type = tokens.at, self.type()
        if tokens.kind() != "hash":
            tokens.fail(f"the constant's digest was expected, not {tokens.shown()}")
        array = self._large(type, tokens.take()[1:], first)
        storage = Storage("constant", len(self.arrays), array.nbytes, label)
        self.types[id(storage)] = type
        self.storages["constant"].append(storage)
        self.arrays.append(array)

    def slot(self) -> None:
        tokens, found = self.tokens, self.storages["slot"]
        self.next_number("slot", len(found))
        storage = Storage("arena", 0, 0, self.label())
        tokens.expect(":")
        storage.size = self.value()
        tokens.expect("bytes")
        offset, above = None, ()
        if tokens.accept("at"):
            offset = self.number()
        while tokens.accept(","):
            if tokens.expect("live", "above") == "live":
                storage.first = self.number()
                tokens.expect("..")
                storage.last = self.number()
            else:
                above = tuple(self.sequence(self.number))
        storage.location = tokens.location()
        found.append(storage)
        self.slots.append((offset, above))

    def arena(self) -> tuple[int, int, int, bool]:
        tokens = self.tokens
        total = self.number()
        for word in ("bytes", ",", "lower", "bound"):
            tokens.expect(word)
        bound = self.number()
        for word in ("bytes", "at", "step"):
            tokens.expect(word)
        return total, bound, self.number(), bool(tokens.accept(",") and tokens.expect("symbolic"))

    def kernel(self, kernels: Mapping[str, Kernel]) -> None:
        tokens = self.tokens
        self.next_number("kernel", len(self.kernels))
        first = tokens.at
        name = tokens.name("the kernel's name")
        if name not in kernels:
            tokens.fail(f"the kernel {name!r} was not given, nor does its text follow the program", first)
        if name in self.kernels:
            tokens.fail(f"two kernels are called {name!r}", first)
        self.kernels[name] = len(self.kernels)
        self.labels.append(self.label())

    # -- steps
    def steps(self) -> tuple[Step, ...]:
        """The steps up to a closing bracket, which it passes."""
        found: list[Step] = []
        while not self.tokens.accept("}"):
            found.append(self.step(self.tokens.expect("step", "loop", "branch")))
        return tuple(found)

    def step(self, word: str) -> Step:
        if word == "step":
            return self.launch()
        return self.loop() if word == "loop" else self.branch()

    def launch(self) -> Launch:
        tokens = self.tokens
        number = self.number()
        tokens.expect(":")
        first = tokens.at
        name = tokens.name("a kernel's name")
        if name not in self.kernels:
            tokens.fail(f"no kernel is called {name!r} here", first)
        label = self.label() or self.labels[self.kernels[name]]
        places = self.sequence(self.place)
        tokens.expect("->")
        places += self.sequence(self.place)
        return Launch(self.kernels[name], tuple(places), tokens.location(), label, number)

    def loop(self) -> Loop:
        tokens = self.tokens
        name = tokens.name("the loop's counter")
        trip = self.value() if tokens.accept("in") else None
        counter = self.symbols[name] = Symbol(name, 0)
        tokens.expect("{")
        before, found, condition = (), [], None
        while not tokens.accept("}"):
            word = tokens.expect("step", "loop", "branch", "while")
            if word != "while":
                found.append(self.step(word))
                continue
            if condition is not None:
                tokens.fail("a loop has one condition", tokens.at - 1)
            before, found, condition = tuple(found), [], self.place()
        end = Symbol(f"{name}.end", 0)
        self.symbols[end.name] = end
        return Loop(counter, trip, tuple(found), before, condition)

    def branch(self) -> Branch:
        tokens = self.tokens
        index = self.place()
        tokens.expect("{")
        branches = []
        while tokens.expect("case", "}") == "case":
            self.next_number("case", len(branches))
            tokens.expect("{")
            branches.append(self.steps())
        return Branch(index, tuple(branches))

    def place(self) -> Place:
        tokens, first = self.tokens, self.tokens.at
        kind = tokens.expect("input", "output", "constant", "slot")
        number = self.number()
        if number >= len(self.storages[kind]):
            tokens.fail(f"there is no {kind} {number}", first)
        storage = self.storages[kind][number]
        label = tokens.name(f"the {kind}'s name") if kind in self.ports else self.label()
        if label != storage.label:
            tokens.fail(f"{kind} {number} is called {storage.label!r}, not {label!r}", first)
        offset = 0
        if tokens.peek() == "[":
            offset = self.dim(tokens.skip("[", "]")[0], first)
        if not tokens.accept(":"):
            type = self.types.get(id(storage))
            if type is None:
                tokens.fail(f"the type of what lies in slot {number} was expected, not {tokens.shown()}")
            return Place(storage, offset, type.shape, row_major(type.shape), type.dtype)
        type = self.type()
        strides = row_major(type.shape)
        if tokens.accept("strides"):
            inside = tokens.skip("(", ")")[0]
            strides = tuple(self.dim(d, first) for d in inside.split(",")) if inside.strip() else ()
            if len(strides) != len(type.shape):
                tokens.fail(f"{len(type.shape)} dims have {len(strides)} strides", first)
        return Place(storage, offset, type.shape, strides, type.dtype)
