"""What does a model that runs without Python do around its run?  Arguments, .npy files, checks: `main` as LLVM IR.

A program is linked of four parts: the model's objects, the runtime object (`support_ir`), the module that `main_ir`
gives, and, where no C compiler links it, the one of `start_ir`. The model's objects define, for an Interface `name`:

    int32_t {name}_run(const int64_t *symbols, void *const *inputs, void *const *outputs, int32_t threads);
        Run once. symbols[i] is the value of Interface.symbols[i]; inputs and outputs are dense, row-major, aligned to
        64 bytes; threads is a cap, 0 for none. It calls lamina_begin and lamina_end itself. Returns 0, or a status.
    void {name}_extents(const int64_t *symbols, int64_t *extents);
        Write every extent of every input, then of every output, in order, row after row.

The program: ./model [-h] [--threads N] [-o [output=]file]... [input=]file...
Inputs in order or by name, outputs to `<output>.npy` or where -o says, "-" is standard input or output. It exits with 0,
with 1 if the run failed or an output can't be written, with 2 if the arguments or inputs are wrong. All outputs are
written under temporary names and renamed when all are whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...core.errors import UnsupportedError
from .npy import (DESCR, DESCRS, ERROR_SIZE, EXTENTS, FILE, HEADER, OUTPUT, RANK, SHAPE_LENGTH, SHAPE_TEXT, fail,
                  npy_types, write_npy_functions)
from .platforms import declarations, platform
from .writer import FunctionWriter, Writer

UNBOUNDED = (1 << 63) - 1


@dataclass(frozen=True)
class SymbolFacts:
    """A dim that is known when the program runs: `lower` <= value <= `upper` (None: no bound), a multiple of `multiple`."""

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


def main_ir(interface: Interface, target_triple: str, os: str = "linux") -> str:
    """The module with `main`: a complete LLVM IR text for `target_triple`."""
    row = platform(target_triple, os)
    writer = Writer()
    writer.add(npy_types() + '@lamina.magic = internal constant [8 x i8] c"\\93NUMPY\\01\\00"\n')
    writer.add(f"declare i32 @{interface.name}_run(ptr, ptr, ptr, i32)\n"
               f"declare void @{interface.name}_extents(ptr, ptr)\n")
    write_npy_functions(writer, row)
    _write_tables(writer, interface)
    _write_parse_threads(writer)
    _write_assign(writer)
    _write_parse_arguments(writer, interface)
    _write_bind(writer)
    _write_sizes(writer)
    _write_read_input(writer)
    _write_check_expressions(writer)
    _write_outputs(writer)
    _write_main(writer, interface)
    text = writer.text()
    return f'target triple = "{target_triple}"\n{text}\n{declarations(text, row)}'


def start_ir(target_triple: str, os: str = "linux") -> str:
    """The module with `_start`, for a program that a bare linker makes: it hands argc and argv to the C library."""
    row = platform(target_triple, os)
    text = f"""
; The first function of a process: argc is where its stack begins, argv follows.
define void @_start(ptr %a, ptr %b, ptr %c) noreturn nounwind "stackrealign" {{
  %stack = call ptr @{row.entry_stack}()
  %argc = load i32, ptr %stack
  %argv = getelementptr i64, ptr %stack, i64 1
  call i32 @__libc_start_main(ptr @main, i32 %argc, ptr %argv, ptr null, ptr null, ptr {"%a %b %c".split()[row.exit_argument]}, ptr %stack)
  unreachable
}}
declare i32 @main(i32, ptr)
"""
    return f'target triple = "{target_triple}"\n{text}\n{declarations(text, row)}'


# A row for each input and each output: name, type's name, descr, shape as text, bytes of an element, rank, where its
# extents begin in what {name}_extents writes, its entries (inputs: an extent, or -1 for an expression, or -2-i for symbol i).
ARRAY, NAME, TYPE, ARRAY_DESCR, SHAPE, ITEM_BYTES, ARRAY_RANK, START, ENTRIES = "%lamina.array", 0, 1, 2, 3, 4, 5, 6, 7
# A row for each symbol: name, facts as text, lower, upper, multiple.
SYMBOL, FACTS, LOWER, UPPER, MULTIPLE = "%lamina.symbol", 1, 2, 3, 4
_ITEM_BYTES = {"bool": 1, "complex64": 8, "complex128": 16}


def _write_tables(writer: Writer, interface: Interface) -> None:
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
            item = _ITEM_BYTES.get(array.dtype) or int(re.search(r"\d+$", array.dtype).group()) // 8
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


def _say(f: FunctionWriter, interface: Interface, text: str, *arguments: str) -> None:
    """A line of standard error, which begins with the program's name."""
    listed = "".join(", " + a for a in arguments)
    f.do(f"call i32 (i32, ptr, ...) @dprintf(i32 2, ptr {f.string(interface.name + ': ' + text + chr(10))}{listed})")


def _row(f: FunctionWriter, kind: str, index) -> str:
    return f.element({"symbols": SYMBOL}.get(kind, ARRAY), f"@lamina.{kind}", index)


def _write_parse_threads(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.parse_threads(ptr %text, ptr %error)", "The number after --threads.")
    end = f.variable("ptr")
    number = f.let(f"call i64 @strtol(ptr %text, ptr {end.at}, i32 10)")
    rest = f.let(f"zext i8 {f.load('i8', end.get())} to i64")
    for wrong in (f"eq ptr {end.get()}, %text", f"ne i64 {rest}, 0", f"slt i64 {number}, 1"):
        with f.when(wrong):
            fail(f, "--threads takes a number from 1 on, not '%s'", "ptr %text")
    most = f.let(f"call i64 @llvm.smin.i64(i64 {number}, i64 65535)")
    f.do(f"store i32 {f.let(f'trunc i64 {most} to i32')}, ptr @lamina.threads")
    f.ret("i32 0")


def _write_assign(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.assign(ptr %argument, ptr %arrays, ptr %files, i64 %count, ptr %error)",
                        "Give an argument NAME=FILE to the array of this name: 0 done, 1 error, 2 it names no array.")
    with f.count_to("%count") as i:
        name = f.load_field(ARRAY, f.element(ARRAY, "%arrays", i), NAME, "ptr")
        length = f.let(f"call i64 @strlen(ptr {name})")
        with f.when(f"eq i32 {f.let(f'call i32 @strncmp(ptr %argument, ptr {name}, i64 {length})')}, 0"):
            behind = f.element("i8", "%argument", length)
            with f.when(f"eq i8 {f.load('i8', behind)}, {ord('=')}"):
                slot = f.element("ptr", "%files", i)
                with f.when(f"ne ptr {f.load('ptr', slot)}, null"):
                    fail(f, "'%s' is given twice", f"ptr {name}")
                f.do(f"store ptr {f.element('i8', behind, 1)}, ptr {slot}")
                f.ret("i32 0")
    f.ret("i32 2")

    f = writer.function("internal i1 @lamina.is_named(ptr %argument, ptr %arrays, i64 %count)",
                        "Is this NAME=FILE with the name of one of the arrays?")
    with f.count_to("%count") as i:
        name = f.load_field(ARRAY, f.element(ARRAY, "%arrays", i), NAME, "ptr")
        length = f.let(f"call i64 @strlen(ptr {name})")
        with f.when(f"eq i32 {f.let(f'call i32 @strncmp(ptr %argument, ptr {name}, i64 {length})')}, 0"):
            with f.when(f"eq i8 {f.load('i8', f.element('i8', '%argument', length))}, {ord('=')}"):
                f.ret("i1 true")
    f.ret("i1 false")

    f = writer.function("internal i32 @lamina.assign_next(ptr %argument, ptr %files, i64 %count)",
                        "Give an argument to the first array that has none yet: 0 done, 1 all have.")
    with f.count_to("%count") as i:
        slot = f.element("ptr", "%files", i)
        with f.when(f"eq ptr {f.load('ptr', slot)}, null"):
            f.do(f"store ptr %argument, ptr {slot}")
            f.ret("i32 0")
    f.ret("i32 1")


def _write_parse_arguments(writer: Writer, interface: Interface) -> None:
    n_in, n_out = len(interface.inputs), len(interface.outputs)
    f = writer.function("internal i32 @lamina.parse_arguments(i32 %argc, ptr %argv, ptr %error)",
                        "Read the command line: 0, 1 for an error, 2 if help is wanted. Twice over it: first options and\n"
                        "what is given by name, then the rest in order.")
    count = f.let("sext i32 %argc to i64")
    for by_name in (True, False):
        index, options = f.variable("i64", 1), f.variable("i32", 1)
        with f.loop():
            f.leave_when(f"sge i64 {index.get()}, {count}")
            argument = f.load("ptr", f.element("ptr", "%argv", index.get()))
            index.set(f.let(f"add i64 {index.get()}, 1"))
            consumed = f.variable("i32", 0)

            def is_text(text: str, length: int | None = None) -> str:
                call = f"@strcmp(ptr {argument}, ptr {f.string(text)})" if length is None else \
                    f"@strncmp(ptr {argument}, ptr {f.string(text)}, i64 {length})"
                return f.is_(f"eq i32 {f.let('call i32 ' + call)}, 0")

            def option(short: str | None, long: str, value) -> None:
                """An option with a value: `-o V`, `--output V` or `--output=V`; value(text) uses it."""
                for flag in filter(None, (short, long)):
                    with f.when(is_text(flag)):
                        consumed.set(1)
                        with f.when(f"sge i64 {index.get()}, {count}"):
                            fail(f, f"{flag} needs a value")
                        text = f.load("ptr", f.element("ptr", "%argv", index.get()))
                        index.set(f.let(f"add i64 {index.get()}, 1"))
                        value(text)
                with f.when(is_text(long + "=", len(long) + 1)):
                    consumed.set(1)
                    value(f.element("i8", argument, len(long) + 1))

            def threads(text: str) -> None:
                if by_name:
                    with f.when(f"ne i32 {f.let(f'call i32 @lamina.parse_threads(ptr {text}, ptr %error)')}, 0"):
                        f.ret("i32 1")

            def place(text: str, kind: str, number: int) -> None:
                """Give a file to an input or output, in this pass or the other."""
                files = f"@lamina.{kind}.files"
                if by_name:
                    answer = f.let(f"call i32 @lamina.assign(ptr {text}, ptr @lamina.{kind}s, ptr {files}, i64 {number}, "
                                   "ptr %error)")
                    with f.when(f"eq i32 {answer}, 1"):
                        f.ret("i32 1")
                else:
                    named = f.let(f"call i1 @lamina.is_named(ptr {text}, ptr @lamina.{kind}s, i64 {number})")
                    with f.when(f"eq i1 {named}, false"):
                        answer = f.let(f"call i32 @lamina.assign_next(ptr {text}, ptr {files}, i64 {number})")
                        with f.when(f"ne i32 {answer}, 0"):
                            fail(f, f"there are {number} {kind}s: '%s' is one too many" if number != 1 else
                                  f"there is one {kind}: '%s' is one too many", f"ptr {text}")

            with f.when(f"eq i32 {options.get()}, 1"):
                with f.when(is_text("--")):
                    options.set(0)
                    consumed.set(1)
                for flag in ("-h", "--help"):
                    with f.when(is_text(flag)):
                        f.ret("i32 2")
                option(None, "--threads", threads)
                option("-o", "--output", lambda text: place(text, "output", n_out))
                with f.when(f"eq i32 {consumed.get()}, 0"):
                    with f.when(f"eq i8 {f.load('i8', argument)}, {ord('-')}"):
                        with f.when(f"ne i8 {f.load('i8', f.element('i8', argument, 1))}, 0"):
                            fail(f, "there is no option '%s'", f"ptr {argument}")
            with f.when(f"eq i32 {consumed.get()}, 0"):
                place(argument, "input", n_in)
    with f.count_to(n_in) as i:
        with f.when(f"eq ptr {f.load('ptr', f.element('ptr', '@lamina.input.files', i))}, null"):
            row = _row(f, "inputs", i)
            fail(f, "input '%s' is missing: %s %s", *(f"ptr {f.load_field(ARRAY, row, field, 'ptr')}"
                                                       for field in (NAME, TYPE, SHAPE)))
    with f.count_to(n_out) as i:
        slot = f.element("ptr", "@lamina.output.files", i)
        with f.when(f"eq ptr {f.load('ptr', slot)}, null"):
            name = f.load("ptr", f.element("ptr", "@lamina.default.files", i))
            f.do(f"store ptr {name}, ptr {slot}")
            with f.count_to(n_in) as k:
                given = f.load("ptr", f.element("ptr", "@lamina.input.files", k))
                with f.when(f"eq i32 {f.let(f'call i32 @strcmp(ptr {name}, ptr {given})')}, 0"):
                    fail(f, "output '%s' would overwrite the input %s: say where it goes with -o",
                          f"ptr {f.load_field(ARRAY, _row(f, 'outputs', i), NAME, 'ptr')}", f"ptr {given}")
    f.ret("i32 0")


def _write_bind(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.bind(ptr %row, ptr %header, ptr %error)",
                        "Check an input's type, rank and extents as far as they are known, give symbols their values.")
    name, type_name, descr, shape, rank, start, entries = (
        f.load_field(ARRAY, "%row", field, type) for field, type in
        ((NAME, "ptr"), (TYPE, "ptr"), (ARRAY_DESCR, "ptr"), (SHAPE, "ptr"), (ARRAY_RANK, "i64"), (START, "i64"),
         (ENTRIES, "ptr")))
    found_descr = f.field(HEADER, "%header", DESCR)
    wanted = (f"ptr {type_name}", f"ptr {shape}")

    def found() -> tuple[str, ...]:
        length = f.let(f"trunc i64 {f.load_field(HEADER, '%header', SHAPE_LENGTH, 'i64')} to i32")
        return (f"ptr {f.let(f'call ptr @lamina.type_name(ptr {found_descr})')}", f"i32 {length}",
                f"ptr {f.load_field(HEADER, '%header', SHAPE_TEXT, 'ptr')}")

    def mismatch() -> None:
        fail(f, "must be %s %s, but it is %s %.*s", *wanted, *found())

    kinds = (f.element("i8", d, 1) for d in (descr, found_descr))
    with f.when(f"ne i32 {f.let('call i32 @strcmp(' + ', '.join(f'ptr {k}' for k in kinds) + ')')}, 0"):
        mismatch()
    with f.when(f"ne i64 {rank}, {f.load_field(HEADER, '%header', RANK, 'i64')}"):
        mismatch()
    with f.count_to(rank) as d:
        entry = f.load("i64", f.element("i64", entries, d))
        extent = f.load("i64", f.element("i64", f.field(HEADER, "%header", EXTENTS), d))
        f.do(f"store i64 {extent}, ptr {f.element('i64', '@lamina.found', f.let(f'add i64 {start}, {d}'))}")
        with f.when(f"sge i64 {entry}, 0"):
            with f.when(f"ne i64 {entry}, {extent}"):
                mismatch()
        with f.when(f"sle i64 {entry}, -2"):
            number = f.let(f"sub i64 -2, {entry}")
            symbol = _row(f, "symbols", number)
            symbol_name = f"ptr {f.load_field(SYMBOL, symbol, NAME, 'ptr')}"
            value, binder = f.element("i64", "@lamina.values", number), f.element("ptr", "@lamina.binders", number)
            with f.when(f"eq ptr {f.load('ptr', binder)}, null"):
                f.do(f"store i64 {extent}, ptr {value}")
                f.do(f"store ptr {name}, ptr {binder}")
                rest = f.let(f"srem i64 {extent}, {f.load_field(SYMBOL, symbol, MULTIPLE, 'i64')}")
                for wrong in (f"slt i64 {extent}, {f.load_field(SYMBOL, symbol, LOWER, 'i64')}",
                              f"sgt i64 {extent}, {f.load_field(SYMBOL, symbol, UPPER, 'i64')}", f"ne i64 {rest}, 0"):
                    with f.when(wrong):
                        fail(f, "has %s = %ld, which must be %s", symbol_name, f"i64 {extent}",
                             f"ptr {f.load_field(SYMBOL, symbol, FACTS, 'ptr')}")
            known = f.load("i64", value)
            with f.when(f"ne i64 {known}, {extent}"):
                fail(f, "must be %s %s with %s = %ld as in '%s', but it is %s %.*s", *wanted, symbol_name,
                     f"i64 {known}", f"ptr {f.load('ptr', binder)}", *found())
    f.ret("i32 0")


def _write_sizes(writer: Writer) -> None:
    f = writer.function("internal i64 @lamina.count_bytes(ptr %extents, i64 %rank, i64 %item)",
                        "The bytes of a dense array; -1 if that is no sensible number.")
    bytes_ = f.variable("i64", "%item")
    with f.count_to("%rank") as d:
        extent = f.load("i64", f.element("i64", "%extents", d))
        with f.when(f"slt i64 {extent}, 0"):
            f.ret("i64 -1")
        pair = f.let(f"call {{i64, i1}} @llvm.smul.with.overflow.i64(i64 {bytes_.get()}, i64 {extent})")
        with f.when(f.let(f"extractvalue {{i64, i1}} {pair}, 1")):
            f.ret("i64 -1")
        bytes_.set(f.let(f"extractvalue {{i64, i1}} {pair}, 0"))
    f.ret(f"i64 {bytes_.get()}")

    f = writer.function("internal ptr @lamina.allocate(i64 %bytes, ptr %error)",
                        "Memory aligned to 64 bytes, of a size that is a multiple of 64; null if there is none.")
    place = f.variable("ptr", "null")
    with f.when(f"sge i64 %bytes, {1 << 62}"):
        _fail_allocation(f)
    rounded = f.let(f"and i64 {f.let('add i64 %bytes, 127')}, -64")
    status = f.let(f"call i32 @posix_memalign(ptr {place.at}, i64 64, i64 {rounded})")
    with f.when(f"ne i32 {status}, 0"):
        _fail_allocation(f)
    f.ret(f"ptr {place.get()}")


def _fail_allocation(f: FunctionWriter) -> None:
    f.format("%error", ERROR_SIZE, "needs %ld bytes of memory, which the system does not give", "i64 %bytes")
    f.ret("ptr null")


def _write_read_input(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.read_input(i64 %number, ptr %error)",
                        "Open, check and read one input; the error is what follows its name in a sentence.")
    path = f.load("ptr", f.element("ptr", "@lamina.input.files", "%number"))
    row, header = _row(f, "inputs", "%number"), f.variable(HEADER)
    file = f.variable("i32", 0)
    with f.when(f"ne i32 {f.let(f'call i32 @strcmp(ptr {path}, ptr ' + f.string('-') + ')')}, 0"):
        file.set(f.let(f"call i32 (ptr, i32, ...) @open(ptr {path}, i32 524288)  ; O_RDONLY | O_CLOEXEC"))
    opened = file.get()
    with f.when(f"slt i32 {opened}, 0"):
        fail(f, "can't be read: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    for check in (f"@lamina.npy_read_header(i32 {opened}, ptr {header.at}, ptr %error)",
                  f"@lamina.bind(ptr {row}, ptr {header.at}, ptr %error)"):
        with f.when(f"ne i32 {f.let('call i32 ' + check)}, 0"):
            f.ret("i32 1")
    extents, rank = f.field(HEADER, header.at, EXTENTS), f.load_field(ARRAY, row, ARRAY_RANK, "i64")
    item = f.load_field(ARRAY, row, ITEM_BYTES, "i64")
    size = f.let(f"call i64 @lamina.count_bytes(ptr {extents}, i64 {rank}, i64 {item})")
    with f.when(f"slt i64 {size}, 0"):
        fail(f, "is larger than any memory")
    data = f.let(f"call ptr @lamina.allocate(i64 {size}, ptr %error)")
    with f.when(f"eq ptr {data}, null"):
        f.ret("i32 1")
    f.do(f"store ptr {data}, ptr {f.element('ptr', '@lamina.input.data', '%number')}")
    status = f.let(f"call i32 @lamina.npy_read_data(i32 {opened}, ptr {data}, i64 {size}, ptr %error)")
    with f.when(f"sgt i32 {opened}, 2"):
        f.do(f"call i32 @close(i32 {opened})")
    f.ret(f"i32 {status}")


def _write_check_expressions(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.check_extents(i64 %number, ptr %error)",
                        "With all symbols known: has this input the extents that the model computes for it?")
    row = _row(f, "inputs", "%number")
    start, rank = (f.load_field(ARRAY, row, field, "i64") for field in (START, ARRAY_RANK))
    wanted, found = f.element("i64", "@lamina.extents", start), f.element("i64", "@lamina.found", start)
    texts = f.variable("[1024 x i8]"), f.variable("[1024 x i8]")
    with f.count_to(rank) as d:
        a, b = (f.load("i64", f.element("i64", base, d)) for base in (wanted, found))
        with f.when(f"ne i64 {a}, {b}"):
            for text, base in zip(texts, (wanted, found)):
                f.do(f"call void @lamina.format_shape(ptr {text.at}, ptr {base}, i64 {rank})")
            fail(f, "must be %s %s, here %s, but it is %s", *(f"ptr {f.load_field(ARRAY, row, field, 'ptr')}"
                                                           for field in (TYPE, SHAPE)), *(f"ptr {t.at}" for t in texts))
    f.ret("i32 0")


def _write_outputs(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.make_output(i64 %number, ptr %error)", "Memory for one output.")
    row = _row(f, "outputs", "%number")
    start, rank, item = (f.load_field(ARRAY, row, field, "i64") for field in (START, ARRAY_RANK, ITEM_BYTES))
    extents = f.element("i64", "@lamina.extents", start)
    size = f.let(f"call i64 @lamina.count_bytes(ptr {extents}, i64 {rank}, i64 {item})")
    with f.when(f"slt i64 {size}, 0"):
        text = f.variable("[1024 x i8]")
        f.do(f"call void @lamina.format_shape(ptr {text.at}, ptr {extents}, i64 {rank})")
        fail(f, "can't be of shape %s", f"ptr {text.at}")
    data = f.let(f"call ptr @lamina.allocate(i64 {size}, ptr %error)")
    with f.when(f"eq ptr {data}, null"):
        f.ret("i32 1")
    f.do(f"store ptr {data}, ptr {f.element('ptr', '@lamina.output.data', '%number')}")
    f.do(f"store i64 {size}, ptr {f.element('i64', '@lamina.output.bytes', '%number')}")
    f.ret("i32 0")

    f = writer.function("internal i32 @lamina.write_output(i64 %number, ptr %error)",
                        "Write one output whole, under its temporary name if it is a file.")
    row = _row(f, "outputs", "%number")
    descr = f.load_field(ARRAY, row, ARRAY_DESCR, "ptr")
    start, rank = (f.load_field(ARRAY, row, field, "i64") for field in (START, ARRAY_RANK))
    extents = f.element("i64", "@lamina.extents", start)
    output = f.element(OUTPUT, "@lamina.writing", "%number")
    path = f.load("ptr", f.element("ptr", "@lamina.output.files", "%number"))
    short = f.let("trunc i64 %number to i32")
    status = f.let(f"call i32 @lamina.output_open(ptr {path}, i32 {short}, ptr {output}, ptr %error)")
    with f.when(f"ne i32 {status}, 0"):
        f.ret("i32 1")
    data = f.load("ptr", f.element("ptr", "@lamina.output.data", "%number"))
    size = f.load("i64", f.element("i64", "@lamina.output.bytes", "%number"))
    file = f.load_field(OUTPUT, output, FILE, "i32")
    status = f.let(f"call i32 @lamina.npy_write(i32 {file}, ptr {descr}, ptr {extents}, i64 {rank}, ptr {data}, i64 {size})")
    with f.when(f"ne i32 {status}, 0"):
        fail(f, "can't be written: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    f.ret(f"i32 {f.let(f'call i32 @lamina.output_close(ptr {output}, ptr %error)')}")

    f = writer.function("internal i32 @lamina.keep_output(i64 %number, ptr %error)", "Give a written output its name.")
    output = f.element(OUTPUT, "@lamina.writing", "%number")
    f.ret(f"i32 {f.let(f'call i32 @lamina.output_keep(ptr {output}, ptr %error)')}")


def _write_main(writer: Writer, interface: Interface) -> None:
    n_in, n_out, name = len(interface.inputs), len(interface.outputs), interface.name
    f = writer.function("i32 @main(i32 %argc, ptr %argv)", "Parse, read, check, run, write.")
    error = f.variable(f"[{ERROR_SIZE} x i8]")
    number = f.let(f"call i32 @lamina.parse_arguments(i32 %argc, ptr %argv, ptr {error.at})")
    with f.when(f"eq i32 {number}, 2"):
        text = help_text(interface)
        f.do(f"call i64 @lamina.write_all(i32 1, ptr {f.string(text)}, i64 {len(text.encode())})")
        f.ret("i32 0")
    with f.when(f"eq i32 {number}, 1"):
        _say(f, interface, f"%s\n{name} -h tells how to call it", f"ptr {error.at}")
        f.ret("i32 2")

    def each(count: int, kind: str, call: str, status: int, clean=None) -> None:
        """Do something with every input or output; an error ends the program."""
        with f.count_to(count) as i:
            with f.when(f"ne i32 {f.let(f'call i32 @lamina.{call}(i64 {i}, ptr {error.at})')}, 0"):
                path = f.load("ptr", f.element("ptr", f"@lamina.{kind}.files", i))
                _say(f, interface, kind + " '%s' (%s) %s", f"ptr {f.load_field(ARRAY, _row(f, kind + 's', i), NAME, 'ptr')}",
                     f"ptr {path}", f"ptr {error.at}")
                if clean:
                    clean()
                f.ret(f"i32 {status}")

    def drop_outputs() -> None:
        with f.count_to(n_out) as i:
            f.do(f"call void @lamina.output_drop(ptr {f.element(OUTPUT, '@lamina.writing', i)})")

    each(n_in, "input", "read_input", 2)
    f.do(f"call void @{name}_extents(ptr @lamina.values, ptr @lamina.extents)")
    each(n_in, "input", "check_extents", 2)
    each(n_out, "output", "make_output", 1)
    threads = f.load("i32", "@lamina.threads")
    status = f.let(f"call i32 @{name}_run(ptr @lamina.values, ptr @lamina.input.data, ptr @lamina.output.data, "
                   f"i32 {threads})")
    with f.when(f"ne i32 {status}, 0"):
        _say(f, interface, "the run failed with status %d", f"i32 {status}")
        f.ret("i32 1")
    each(n_out, "output", "write_output", 1, drop_outputs)
    each(n_out, "output", "keep_output", 1, drop_outputs)
    f.ret("i32 0")
