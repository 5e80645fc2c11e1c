"""How is a function with many branches written as LLVM IR?  Top down, with slots on the stack for what changes.

For code that runs once (reading files, parsing arguments): no phis, and code generation keeps every slot in memory.
The pool, where each instruction counts, is written as IR by hand.
"""

from __future__ import annotations

from contextlib import contextmanager


class Slot:
    """A variable of one function: `get` loads it, `set` stores to it, `at` is its address."""

    def __init__(self, function: "FunctionWriter", type: str, at: str):
        self.function, self.type, self.at = function, type, at

    def get(self) -> str:
        return self.function.let(f"load {self.type}, ptr {self.at}")

    def set(self, value) -> None:
        self.function.do(f"store {self.type} {value}, ptr {self.at}")


class FunctionWriter:
    """One function. Names of values are strings such as "%3"; `let` makes them."""

    def __init__(self, writer: "Writer", signature: str):
        self.writer, self.signature = writer, signature
        self.string = writer.string
        self.slots: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.exits: list[str] = []  # the label after each loop that is open

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def do(self, instruction: str) -> None:
        """An instruction whose result nobody uses."""
        self.lines.append("  " + instruction)

    def let(self, instruction: str) -> str:
        """An instruction and the name of its result."""
        name = self.fresh("%v")
        self.do(f"{name} = {instruction}")
        return name

    def comment(self, text: str) -> None:
        self.do("; " + text)

    def variable(self, type: str, initial=None) -> Slot:
        """A variable of a type such as "i64" or "[64 x i8]", set to `initial` here if that is given."""
        slot = Slot(self, type, self.fresh("%slot"))
        self.slots.append(f"  {slot.at} = alloca {type}, align 16")
        if initial is not None:
            slot.set(initial)
        return slot

    def element(self, type: str, base: str, index) -> str:
        """The address of base[index] in an array of `type`."""
        return self.let(f"getelementptr {type}, ptr {base}, i64 {index}")

    def field(self, type: str, base: str, index: int) -> str:
        """The address of a field of the struct `type` at `base`."""
        return self.let(f"getelementptr {type}, ptr {base}, i64 0, i32 {index}")

    def load(self, type: str, address: str) -> str:
        return self.let(f"load {type}, ptr {address}")

    def load_field(self, struct: str, base: str, index: int, type: str) -> str:
        return self.load(type, self.field(struct, base, index))

    def format(self, to: str, size: int, text: str, *arguments: str) -> None:
        """C's snprintf: `text` with its % items replaced by arguments such as "ptr %name"."""
        listed = "".join(", " + a for a in arguments)
        self.do(f"call i32 (ptr, i64, ptr, ...) @snprintf(ptr {to}, i64 {size}, ptr {self.string(text)}{listed})")

    def is_(self, comparison: str) -> str:
        """The i1 of a comparison such as "eq i32 %a, 0"."""
        return self.let("icmp " + comparison)

    def ret(self, value: str = "void") -> None:
        """Return; what follows up to the end of the block is never reached."""
        self.do("ret " + value)
        self._label(self.fresh("after"))

    @contextmanager
    def when(self, comparison: str):
        """`with f.when("eq i32 %a, 0"):` the block runs if the comparison holds."""
        yes, no = self.fresh("then"), self.fresh("next")
        self._branch(comparison, yes, no)
        self._label(yes)
        yield
        self.do(f"br label %{no}")
        self._label(no)

    @contextmanager
    def loop(self):
        """`with f.loop():` the block repeats until `leave_when` leaves it."""
        top, out = self.fresh("loop"), self.fresh("out")
        self.do(f"br label %{top}")
        self._label(top)
        self.exits.append(out)
        yield
        self.exits.pop()
        self.do(f"br label %{top}")
        self._label(out)

    def leave_when(self, comparison: str) -> None:
        """Leave the innermost loop if the comparison holds."""
        stay = self.fresh("stay")
        self._branch(comparison, self.exits[-1], stay)
        self._label(stay)

    def leave(self) -> None:
        """Leave the innermost loop."""
        self.do(f"br label %{self.exits[-1]}")
        self._label(self.fresh("after"))

    @contextmanager
    def count_to(self, limit):
        """`with f.count_to(n) as i:` the block runs for i = 0 .. n-1 (i64)."""
        index = self.variable("i64", 0)
        with self.loop():
            i = index.get()
            self.leave_when(f"sge i64 {i}, {limit}")
            yield i
            index.set(self.let(f"add i64 {i}, 1"))

    def _branch(self, comparison: str, yes: str, no: str) -> None:
        condition = comparison if comparison.startswith("%") else self.is_(comparison)
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def _label(self, name: str) -> None:
        self.lines.append(name + ":")

    def text(self) -> str:
        return "\n".join([f"define {self.signature} nounwind {{", *self.slots, *self.lines, "  unreachable", "}", ""])


class Writer:
    """The functions and the strings of one text."""

    def __init__(self):
        self.parts: list = []
        self.strings: dict[bytes, str] = {}

    def string(self, text: str) -> str:
        """The address of a zero-terminated constant string."""
        data = text.encode() + b"\0"
        return self.strings.setdefault(data, f"@lamina.text.{len(self.strings)}")

    def add(self, text: str) -> None:
        """Text that stands between functions: a comment, a global, a type."""
        self.parts.append(text)

    def function(self, signature: str, comment: str) -> FunctionWriter:
        """Begin a function: `signature` as after `define`, `comment` says what it does."""
        function = FunctionWriter(self, signature)
        self.parts += [f"; {line}" for line in comment.split("\n")] + [function]
        return function

    def text(self) -> str:
        constants = [f"{name} = private unnamed_addr constant [{len(data)} x i8] c\"{escape(data)}\""
                     for data, name in self.strings.items()]
        parts = [part if isinstance(part, str) else part.text() for part in self.parts]
        return "\n".join([*constants, "", *parts])


def escape(data: bytes) -> str:
    """Bytes as the inside of an LLVM c"..." literal."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)
