"""How does the program around a model read its command line?  As LLVM IR."""

from __future__ import annotations

from .files import fail
from .interface import ARRAY, NAME, SHAPE, TYPE, Interface, row_of
from .writer import Writer


def write_argument_functions(writer: Writer, interface: Interface) -> None:
    """Add `lamina.parse_arguments(argc, argv, error)` and what it calls to `writer`."""
    _write_parse_threads(writer)
    _write_assign(writer)
    _write_parse_arguments(writer, interface)


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
                        "Read the command line: 0, 1 for an error, 2 if help is wanted. Twice over it: first options\n"
                        "and what is given by name, then the rest in order.")
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
                    answer = f.let(f"call i32 @lamina.assign(ptr {text}, ptr @lamina.{kind}s, ptr {files}, "
                                   f"i64 {number}, ptr %error)")
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
            row = row_of(f, "inputs", i)
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
                          f"ptr {f.load_field(ARRAY, row_of(f, 'outputs', i), NAME, 'ptr')}", f"ptr {given}")
    f.ret("i32 0")
