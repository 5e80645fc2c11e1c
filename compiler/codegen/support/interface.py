"""What does a program around a model take and give?  As dataclasses, as the text of -h, as tables in LLVM IR."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...core.errors import UnsupportedError
from .files import OUTPUT
from .npy import DESCRS
from .writer import FunctionWriter, Writer

UNBOUNDED = (1 << 63) - 1


@dataclass(frozen=True)
class SymbolFacts:
    """A dim known when the program runs: `lower` <= value <= `upper` (None: no bound), a multiple of `multiple`."""

    name: str
    lower: int = 1
    upper: int | None = None
    multiple: int = 1

    def __str__(self) -> str:
        words = f"{self.lower} or more" if self.upper is None else f"from {self.lower} to {self.upper}"
        return words + (f" and a multiple of {self.multiple}" if self.multiple > 1 else "")


@dataclass(frozen=True)
class Array:
    """An input or output. An entry of `shape` is an int, the name of a symbol, or any object that prints as an
    expression of symbols, whose value `{name}_extents` gives. `dtype` is NumPy's name, such as "float32" or "bfloat16".
    """

    name: str
    dtype: str
    shape: tuple

    def __str__(self) -> str:
        return f"{self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives. `name` is a C identifier, the prefix of the model's functions. Every symbol must be
    an entry by itself in the shape of some input (else its value can't be known): UnsupportedError.
    """

    name: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    symbols: tuple[SymbolFacts, ...] = ()

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name):
            raise UnsupportedError(f"{self.name!r} can't be the name of a program's functions",
                                   hint="use letters, digits and _")
        for array in (*self.inputs, *self.outputs):
            if array.dtype not in DESCRS:
                raise UnsupportedError(f"{array.name!r} is of type {array.dtype}, which .npy files don't have",
                                       hint="cast it in the model; types are " + ", ".join(DESCRS))
        for symbol in self.symbols:
            if not any(symbol.name == entry for array in self.inputs for entry in array.shape):
                raise UnsupportedError(f"no input of the program has dim {symbol.name!r} as an extent of its own",
                                       hint="declare an input with it, or compile the model for a fixed value")


def shape_text(shape: tuple) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def default_file(output: Array) -> str:
    """Where an output goes if -o does not say: its name, with what a file's name can't have replaced."""
    return re.sub(r"[/\0-\x1f]", "_", output.name).lstrip("-") + ".npy"


def help_text(interface: Interface) -> str:
    """What -h prints."""
    usage = " ".join(f"{array.name}.npy" for array in interface.inputs)
    rows = [("inputs", interface.inputs), ("outputs", interface.outputs)]
    width = max((len(a.name) for _, arrays in rows for a in arrays), default=0)
    lines = [f"usage: {interface.name} [-h] [--threads N] [-o FILE]... {usage}".rstrip(), ""]
    for title, arrays in rows:
        lines += [title + ":", *(f"  {a.name:<{width}}  {a}" for a in arrays), ""]
    if interface.symbols:
        lines += ["dims:", *(f"  {symbol.name}: {symbol}" for symbol in interface.symbols), ""]
    lines += ["options:",
              "  -h, --help           print this and exit",
              "  --threads N          use at most N threads",
              "  -o, --output FILE    where an output goes: once for each output, in order, or as NAME=FILE;",
              "                       without it, to NAME.npy",
              "",
              "Inputs are .npy files, in order or as NAME=FILE; - is standard input, or output for -o.",
              "Exit status: 0 done, 1 the run or writing failed, 2 wrong arguments or inputs.", ""]
    return "\n".join(lines)


# A row for each input and each output: name, type's name, descr, shape as text, bytes of an element, rank, where its
# extents begin in what {name}_extents writes, its entries (an extent, -1 for an expression, or -2 - i for symbol i).
ARRAY, NAME, TYPE, ARRAY_DESCR, SHAPE, ITEM_BYTES, ARRAY_RANK, START, ENTRIES = "%lamina.array", 0, 1, 2, 3, 4, 5, 6, 7
# A row for each symbol: name, facts as text, lower, upper, multiple.
SYMBOL, FACTS, LOWER, UPPER, MULTIPLE = "%lamina.symbol", 1, 2, 3, 4


def write_tables(writer: Writer, interface: Interface) -> None:
    numbers = {symbol.name: i for i, symbol in enumerate(interface.symbols)}
    extents = 0
    rows: dict[str, list[str]] = {"inputs": [], "outputs": []}
    for kind, arrays in (("inputs", interface.inputs), ("outputs", interface.outputs)):
        for i, array in enumerate(arrays):
            entries = [entry if isinstance(entry, int) else -2 - numbers[entry] if entry in numbers else -1
                       for entry in map(_plain, array.shape)]
            listed = ", ".join(f"i64 {entry}" for entry in entries)
            writer.add(f"@lamina.{kind}.{i} = internal constant [{len(entries)} x i64] " +
                       (f"[{listed}]" if entries else "zeroinitializer"))
            order = "|" if DESCRS[array.dtype][1:] == "1" else "<"
            texts = (array.name, array.dtype, order + DESCRS[array.dtype], shape_text(array.shape))
            item = int(DESCRS[array.dtype][1:])
            rows[kind].append(f"{ARRAY} {{ " + ", ".join(f"ptr {writer.string(t)}" for t in texts) +
                              f", i64 {item}, i64 {len(entries)}, i64 {extents}, ptr @lamina.{kind}.{i} }}")
            extents += len(entries)
    symbols = [f"{SYMBOL} {{ ptr {writer.string(s.name)}, ptr {writer.string(str(s))}, i64 {s.lower}, "
               f"i64 {UNBOUNDED if s.upper is None else s.upper}, i64 {s.multiple} }}" for s in interface.symbols]
    n_in, n_out, n_symbols = len(interface.inputs), len(interface.outputs), len(interface.symbols)
    writer.add(f"""{ARRAY} = type {{ ptr, ptr, ptr, ptr, i64, i64, i64, ptr }}
{SYMBOL} = type {{ ptr, ptr, i64, i64, i64 }}
@lamina.inputs = internal constant [{n_in} x {ARRAY}] [{", ".join(rows["inputs"])}]
@lamina.outputs = internal constant [{n_out} x {ARRAY}] [{", ".join(rows["outputs"])}]
@lamina.symbols = internal constant [{n_symbols} x {SYMBOL}] [{", ".join(symbols)}]
@lamina.values = internal global [{n_symbols + 1} x i64] zeroinitializer         ; of the symbols
@lamina.binders = internal global [{n_symbols + 1} x ptr] zeroinitializer        ; the input that gave the value
@lamina.extents = internal global [{extents + 1} x i64] zeroinitializer
@lamina.found = internal global [{extents + 1} x i64] zeroinitializer           ; the extents that the files have
@lamina.input.files = internal global [{n_in + 1} x ptr] zeroinitializer
@lamina.output.files = internal global [{n_out + 1} x ptr] zeroinitializer
@lamina.default.files = internal constant [{n_out} x ptr] [{", ".join(
        f"ptr {writer.string(default_file(o))}" for o in interface.outputs)}]
@lamina.input.data = internal global [{n_in + 1} x ptr] zeroinitializer
@lamina.output.data = internal global [{n_out + 1} x ptr] zeroinitializer
@lamina.output.bytes = internal global [{n_out + 1} x i64] zeroinitializer
@lamina.writing = internal global [{n_out + 1} x {OUTPUT}] zeroinitializer
@lamina.threads = internal global i32 0
""")


def _plain(entry):
    return entry if isinstance(entry, int) else str(entry)


def row_of(f: FunctionWriter, kind: str, index) -> str:
    return f.element({"symbols": SYMBOL}.get(kind, ARRAY), f"@lamina.{kind}", index)
