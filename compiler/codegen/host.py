"""How does a program run with one call?  Its steps as one native function: no dispatch, no Python between kernels.

`int32 NAME_run_frame(ptr frame, int32 cap)`: the frame is an array of words: the arena, then each constant, input and
output (addresses), then each symbol (extents). `cap` bounds the threads of this call (0: as many as the process may
use). It returns 0.
`int32 NAME_run_arrays(ptr frame, int64 offset, int32 cap)`: the same where the words of inputs and outputs are
addresses of objects that hold the array's address `offset` bytes in (NumPy's arrays do): one call from Python without
a look-up for each array.
`int64 NAME_arena(ptr symbols)`: the arena bytes for these extents.

The frame's last word is null, or the address of a record of this run, in words: the address of the next event, the
address at which events end; for each launch its clock ticks and how often it ran; then events of three words: launch,
and the ticks at its begin and end.

NAME is made of the program's content, and the functions are weak: models that are linked together never clash.
"""

from __future__ import annotations

from ..core.dims import Dim, FloorDiv, bounds, product
from ..kernel.ir import For
from ..plan.program import Branch, Launch, Loop, Place, Program, Step
from ..targets.target import Target
from .module import attributes
from .object import UNOPTIMIZED

ALIGNMENT = 64


def frame_layout(program: Program) -> dict[str, int]:
    """The first word of each part of the frame, and `size`, the number of words. The last word, `profile`, is null or
    the address of the record of a run that is measured."""
    constants = 1
    inputs = constants + len(program.constants)
    outputs = inputs + len(program.inputs)
    symbols = outputs + len(program.outputs)
    return {"arena": 0, "constants": constants, "inputs": inputs, "outputs": outputs, "symbols": symbols,
            "profile": symbols + len(program.symbols), "size": symbols + len(program.symbols) + 1}


def host_module(program: Program, target: Target, name: str, kernel_names: list[str]) -> str:
    """The LLVM text of the program's entry points; kernels are external symbols."""
    return _Host(program, target, name, kernel_names).text()


class _Host:
    def __init__(self, program: Program, target: Target, name: str, kernel_names: list[str]):
        self.launches = 0
        self.program, self.target, self.name, self.kernel_names = program, target, name, kernel_names
        self.layout = frame_layout(program)
        self.lines: list[str] = []
        self.symbols: dict[str, str] = {}
        self.known: dict = {}
        self.count = 0
        self.label = "entry"
        self.starts: dict[int, str | int] = {}

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def emit(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    # ---- dims -----------------------------------------------------------------------------------------------------
    def dim(self, d: Dim) -> str:
        """The value of a dim as i64 text."""
        if isinstance(d, int):
            return str(d)
        total = None
        for monomial, coefficient in d.terms:
            term = None if coefficient == 1 and monomial else str(coefficient)
            for atom in monomial:
                if isinstance(atom, FloorDiv):
                    numerator = self.dim(atom.numerator)
                    factor = self._floordiv(numerator, atom.denominator, bounds(atom.numerator)[0] >= 0)
                else:
                    factor = self.symbols[atom.name]
                term = factor if term is None else self.emit(f"mul i64 {term}, {factor}")
            total = term if total is None else self.emit(f"add i64 {total}, {term}")
        return total

    def _floordiv(self, numerator: str, denominator: int, nonnegative: bool) -> str:
        if nonnegative:
            return self.emit(f"udiv i64 {numerator}, {denominator}")
        quotient = self.emit(f"sdiv i64 {numerator}, {denominator}")
        remainder = self.emit(f"srem i64 {numerator}, {denominator}")
        below = self.emit(f"icmp slt i64 {remainder}, 0")
        less = self.emit(f"sub i64 {quotient}, 1")
        return self.emit(f"select i1 {below}, i64 {less}, i64 {quotient}")

    # ---- addresses -------------------------------------------------------------------------------------------------
    def word(self, index: int, type: str = "ptr") -> str:
        place = self.emit(f"getelementptr inbounds i64, ptr %frame, i64 {index}")
        return self.emit(f"load {type}, ptr {place}, align 8")

    def base(self, place: Place) -> str:
        storage = place.storage
        if storage.kind == "arena":
            start = self.starts[id(storage)]
            return self.arena if start == 0 else self.emit(f"getelementptr inbounds i8, ptr {self.arena}, i64 {start}")
        return self.word(self.layout[storage.kind + "s"] + storage.index)

    def address(self, place: Place) -> str:
        base = self.base(place)
        offset = self.dim(place.offset * place.dtype.itemsize)
        return base if offset == "0" else self.emit(f"getelementptr inbounds i8, ptr {base}, i64 {offset}")

    # ---- steps ------------------------------------------------------------------------------------------------------
    def steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, Launch):
                self._launch(step)
            elif isinstance(step, Loop):
                self._loop(step)
            else:
                self._branch(step)

    def _launch(self, launch: Launch) -> None:
        number = self.launches
        self.launches += 1
        kernel = self.program.kernels[launch.kernel]
        outs = [p for p, b in zip(launch.places, kernel.params) if b.role == "out"]
        sizes = [product(p.shape) for p in outs]
        if sizes and all(s == 0 for s in sizes):
            return
        skip = None
        if sizes and all(bounds(s)[0] <= 0 for s in sizes):
            total = self.dim(sum(sizes[1:], sizes[0]))
            skip, run = self.new_label("empty"), self.new_label("some")
            flag = self.emit(f"icmp sgt i64 {total}, 0")
            self.lines.append(f"  br i1 {flag}, label %{run}, label %{skip}")
            self.open(run)
        words = [self.emit(f"ptrtoint ptr {self.address(p)} to i64") for p in launch.places]
        words += [self.symbols[s] for s in kernel.symbols]
        for i, word in enumerate(words):
            slot = self.emit(f"getelementptr inbounds i64, ptr %args, i64 {i}")
            self.lines.append(f"  store i64 {word}, ptr {slot}, align 8")
        name = self.kernel_names[launch.kernel]
        measured, plain, done = (self.new_label(x) for x in ("measured", "plain", "done"))
        self.lines.append(f"  br i1 %is_measured, label %{measured}, label %{plain}, !prof !1")
        self.open(measured)
        arguments = f"ptr %record, i64 {number}, ptr @{name}, ptr %args, i32 %threads"
        self.lines.append(f"  call void @{self.name}_measure({arguments})")
        self.lines.append(f"  br label %{done}")
        self.open(plain)
        self.lines.append(f"  call void @{name}(ptr %args, i32 %threads)")
        self.lines.append(f"  br label %{done}")
        self.open(done)
        if skip is not None:
            self.lines.append(f"  br label %{skip}")
            self.open(skip)

    def new_label(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def open(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def _loop(self, loop: Loop) -> None:
        slot = self.counter_slot(loop)
        self.lines.append(f"  store i64 0, ptr {slot}, align 8")
        head, body, done = (self.new_label(x) for x in ("head", "body", "done"))
        trip = None if loop.trip is None else self.dim(loop.trip)
        self.lines.append(f"  br label %{head}")
        self.open(head)
        t = self.emit(f"load i64, ptr {slot}, align 8")
        self.symbols[loop.counter.name] = t
        self.steps(loop.before)
        conditions = []
        if trip is not None:
            conditions.append(self.emit(f"icmp slt i64 {t}, {trip}"))
        if loop.condition is not None:
            flag = self.emit(f"load i8, ptr {self.address(loop.condition)}, align 1")
            conditions.append(self.emit(f"icmp ne i8 {flag}, 0"))
        go = conditions[0] if len(conditions) == 1 else self.emit(f"and i1 {conditions[0]}, {conditions[1]}")
        self.lines.append(f"  br i1 {go}, label %{body}, label %{done}")
        self.open(body)
        self.steps(loop.steps)
        following = self.emit(f"add i64 {t}, 1")
        self.lines.append(f"  store i64 {following}, ptr {slot}, align 8")
        self.lines.append(f"  br label %{head}")
        self.open(done)
        self.symbols[loop.counter.name + ".end"] = t

    def counter_slot(self, loop: Loop) -> str:
        name = f"%slot.{loop.counter.name}"
        self.slots.setdefault(name, None)
        return name

    def _branch(self, branch: Branch) -> None:
        kind = {1: "i8", 4: "i32", 8: "i64"}[branch.index.dtype.itemsize]
        index = self.emit(f"load {kind}, ptr {self.address(branch.index)}, align {branch.index.dtype.itemsize}")
        labels = [self.new_label("branch") for _ in branch.branches]
        join = self.new_label("join")
        last = len(labels) - 1
        if branch.index.dtype.is_signed:
            low = self.emit(f"icmp slt {kind} {index}, 0")
            index = self.emit(f"select i1 {low}, {kind} 0, {kind} {index}")
        cases = " ".join(f"{kind} {i}, label %{label}" for i, label in enumerate(labels))
        self.lines.append(f"  switch {kind} {index}, label %{labels[last]} [ {cases} ]")
        for label, steps in zip(labels, branch.branches):
            self.open(label)
            self.steps(steps)
            self.lines.append(f"  br label %{join}")
        self.open(join)

    # ---- functions ---------------------------------------------------------------------------------------------------
    def place_slots(self) -> str:
        """The start of every slot, and the end of the arena."""
        plan = self.program.plan
        ends: dict[int, str | int] = {}
        top: str | int = 0
        for i in sorted(range(len(plan.slots)), key=lambda i: plan.slots[i].offset):
            slot = plan.slots[i]
            if not plan.is_symbolic:
                self.starts[id(slot.storage)] = slot.offset
                continue
            start: str | int = 0
            for j in slot.above:
                start = ends[j] if start == 0 else self._largest(start, ends[j])
            size = self.dim(slot.storage.size)
            padded = self.emit(f"and i64 {self.emit(f'add i64 {size}, {ALIGNMENT - 1}')}, -{ALIGNMENT}")
            padded = self._largest(padded, str(ALIGNMENT))
            ends[i] = padded if start == 0 else self.emit(f"add i64 {start}, {padded}")
            self.starts[id(slot.storage)] = start
            top = ends[i] if top == 0 else self._largest(top, ends[i])
        return str(top if plan.is_symbolic else plan.arena_bytes)

    def _run_arrays(self) -> list[str]:
        lines = [f"define weak_odr i32 @{self.name}_run_arrays(ptr %frame, i64 %offset, i32 %cap) #0 {{", "entry:"]
        for i in range(self.layout["inputs"], self.layout["symbols"]):
            lines += [f"  %w{i} = getelementptr inbounds i64, ptr %frame, i64 {i}",
                      f"  %o{i} = load ptr, ptr %w{i}, align 8",
                      f"  %d{i} = getelementptr inbounds i8, ptr %o{i}, i64 %offset",
                      f"  %a{i} = load i64, ptr %d{i}, align 8",
                      f"  store i64 %a{i}, ptr %w{i}, align 8"]
        return [*lines, f"  %status = call i32 @{self.name}_run_frame(ptr %frame, i32 %cap)", "  ret i32 %status", "}"]

    def _measure(self) -> str:
        """A launch that writes into the run's record: its ticks and count, and an event where there is room."""
        clock = "call i64 @llvm.readcyclecounter()" if self.target.architecture == "x86_64" else \
            "call i64 @llvm.read_volatile_register.i64(metadata !2)"  # user code may not read an Arm's cycle counter
        return f"""\
define internal void @{self.name}_measure(ptr %record, i64 %launch, ptr %kernel, ptr %args, i32 %threads) #1 {{
entry:
  %begin = {clock}
  call void %kernel(ptr %args, i32 %threads)
  %end = {clock}
  %place = mul i64 %launch, 2
  %first = add i64 %place, 2
  %second = add i64 %place, 3
  %ticks.at = getelementptr inbounds i64, ptr %record, i64 %first
  %count.at = getelementptr inbounds i64, ptr %record, i64 %second
  %ticks = load i64, ptr %ticks.at, align 8
  %count = load i64, ptr %count.at, align 8
  %taken = sub i64 %end, %begin
  %ticks.new = add i64 %ticks, %taken
  %count.new = add i64 %count, 1
  store i64 %ticks.new, ptr %ticks.at, align 8
  store i64 %count.new, ptr %count.at, align 8
  %event = load ptr, ptr %record, align 8
  %stop.at = getelementptr inbounds i64, ptr %record, i64 1
  %stop = load ptr, ptr %stop.at, align 8
  %has_room = icmp ult ptr %event, %stop
  br i1 %has_room, label %write, label %full
write:
  store i64 %launch, ptr %event, align 8
  %begin.at = getelementptr inbounds i64, ptr %event, i64 1
  store i64 %begin, ptr %begin.at, align 8
  %end.at = getelementptr inbounds i64, ptr %event, i64 2
  store i64 %end, ptr %end.at, align 8
  %next = getelementptr inbounds i64, ptr %event, i64 3
  store ptr %next, ptr %record, align 8
  br label %full
full:
  ret void
}}"""

    def _largest(self, a, b) -> str:
        return self.emit(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})")

    def text(self) -> str:
        program = self.program
        words = max((len(program.kernels[k].params) + len(program.kernels[k].symbols)
                     for k in range(len(program.kernels))), default=1)
        parallel = any(isinstance(s, For) and s.kind == "parallel" for k in program.kernels for s in k.body)
        self.slots: dict[str, None] = {}

        for i, s in enumerate(program.symbols):
            place = self.emit(f"getelementptr inbounds i64, ptr %symbols, i64 {i}")
            self.symbols[s.name] = self.emit(f"load i64, ptr {place}, align 8")
        top = self.place_slots()
        arena = [f"define weak_odr i64 @{self.name}_arena(ptr %symbols) #0 {{", "entry:", *self.lines,
                 f"  ret i64 {top}", "}"]

        self.lines, self.symbols, self.starts = [], {}, {}
        for i, s in enumerate(program.symbols):
            self.symbols[s.name] = self.word(self.layout["symbols"] + i, "i64")
        self.arena = self.word(0)
        self.place_slots()
        self.steps(program.steps)
        head = [f"define weak_odr i32 @{self.name}_run_frame(ptr %frame, i32 %cap) #0 {{", "entry:",
                f"  %args = alloca [{max(1, words)} x i64], align 64",
                *(f"  {s} = alloca i64, align 8" for s in self.slots)]
        head += [f"  %record_word = getelementptr inbounds i64, ptr %frame, i64 {self.layout['profile']}",
                 "  %record = load ptr, ptr %record_word, align 8", "  %is_measured = icmp ne ptr %record, null"]
        head.append("  %threads = call i32 @lamina_begin(i32 %cap)" if parallel else "  %threads = add i32 0, 1")
        tail = (["  call void @lamina_end(i32 %threads)"] if parallel else []) + ["  ret i32 0", "}"]
        arrays = self._run_arrays()
        used = sorted({self.kernel_names[i] for i in range(len(program.kernels))})
        declarations = [f"declare void @{n}(ptr, i32)" for n in used]
        declarations += ["declare i32 @lamina_begin(i32)", "declare void @lamina_end(i32)",
                         "declare i64 @llvm.smax.i64(i64, i64)"]
        declarations += ["declare i64 @llvm.readcyclecounter()",
                         "declare i64 @llvm.read_volatile_register.i64(metadata)",
                         '!1 = !{!"branch_weights", i32 1, i32 4095}', '!2 = !{!"cntvct_el0"}']
        lines = [f'target triple = "{self.target.triple}"', "", *arena, "", *head, *self.lines, *tail, "", *arrays, "",
                 self._measure(), "", *declarations, attributes(self.target)]
        return UNOPTIMIZED + "\n".join(lines) + "\n"
