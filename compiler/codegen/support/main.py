"""What does a model that runs without Python do around its run?  Arguments, .npy files, checks: `main` as LLVM IR.

A program is linked of four parts: the model's objects, the runtime object (`support_ir`), the module that `main_ir`
gives, and, where no C compiler links it, the one of `start_ir`. The model's objects define, for an Interface `name`:

    int32_t {name}_run(const int64_t *symbols, void *const *inputs, void *const *outputs, int32_t threads);
        Run once. symbols[i] is the value of Interface.symbols[i]; inputs and outputs are dense, row-major, aligned to
        64 bytes; threads is a cap, 0 for none. It calls lamina_begin and lamina_end itself. Returns 0, or a status.
    void {name}_extents(const int64_t *symbols, int64_t *extents);
        Write every extent of every input, then of every output, in order, row after row.

The program: ./model [-h] [--threads N] [-o [output=]file]... [input=]file...
Inputs in order or by name, outputs to `<output>.npy` or where -o says, "-" is standard input or output. It exits with
0, with 1 if the run failed or an output can't be written, with 2 if the arguments or inputs are wrong. All outputs
are written under temporary names and renamed when all are whole.
"""

from __future__ import annotations

from .arguments import write_argument_functions
from .files import ERROR_SIZE, FILE, OUTPUT, fail, file_types, write_file_functions
from .interface import (ARRAY, ARRAY_DESCR, ARRAY_RANK, ENTRIES, FACTS, ITEM_BYTES, LOWER, MULTIPLE, NAME, SHAPE, START,
                        SYMBOL, TYPE, UPPER, Array, Interface, SymbolFacts, help_text, row_of, write_tables)
from .npy import DESCR, EXTENTS, HEADER, RANK, SHAPE_LENGTH, SHAPE_TEXT, npy_types, write_npy_functions
from .platforms import declarations, platform
from .writer import FunctionWriter, Writer

__all__ = ["Array", "Interface", "SymbolFacts", "main_ir", "start_ir"]


def main_ir(interface: Interface, target_triple: str, os: str = "linux") -> str:
    """The module with `main`: a complete LLVM IR text for `target_triple`."""
    row = platform(target_triple, os)
    writer = Writer()
    writer.add(npy_types() + file_types() + '@lamina.magic = internal constant [8 x i8] c"\\93NUMPY\\01\\00"\n')
    writer.add(f"declare i32 @{interface.name}_run(ptr, ptr, ptr, i32)\n"
               f"declare void @{interface.name}_extents(ptr, ptr)\n")
    write_file_functions(writer, row)
    write_npy_functions(writer)
    write_tables(writer, interface)
    write_argument_functions(writer, interface)
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
    at_exit = ("%a", "%b", "%c")[row.exit_argument]
    text = f"""
; The first function of a process: argc is where its stack begins, argv follows.
define void @_start(ptr %a, ptr %b, ptr %c) noreturn nounwind "stackrealign" {{
  %stack = call ptr @{row.entry_stack}()
  %argc = load i32, ptr %stack
  %argv = getelementptr i64, ptr %stack, i64 1
  call i32 @__libc_start_main(ptr @main, i32 %argc, ptr %argv, ptr null, ptr null, ptr {at_exit}, ptr %stack)
  unreachable
}}
declare i32 @main(i32, ptr)
"""
    return f'target triple = "{target_triple}"\n{text}\n{declarations(text, row)}'


def _say(f: FunctionWriter, interface: Interface, text: str, *arguments: str) -> None:
    """A line of standard error, which begins with the program's name."""
    listed = "".join(", " + a for a in arguments)
    f.do(f"call i32 (i32, ptr, ...) @dprintf(i32 2, ptr {f.string(interface.name + ': ' + text + chr(10))}{listed})")


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
            symbol = row_of(f, "symbols", number)
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
    row, header = row_of(f, "inputs", "%number"), f.variable(HEADER)
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
    row = row_of(f, "inputs", "%number")
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
    row = row_of(f, "outputs", "%number")
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
    row = row_of(f, "outputs", "%number")
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
    status = f.let(f"call i32 @lamina.npy_write(i32 {file}, ptr {descr}, ptr {extents}, i64 {rank}, ptr {data}, "
                   f"i64 {size})")
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
                array = f.load_field(ARRAY, row_of(f, kind + "s", i), NAME, "ptr")
                _say(f, interface, kind + " '%s' (%s) %s", f"ptr {array}", f"ptr {path}", f"ptr {error.at}")
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
