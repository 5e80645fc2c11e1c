"""How does native code read files, and write them whole or not at all?  As LLVM IR over open, read, write and rename.

    int64_t lamina.read_all(int32_t file, void *data, int64_t count)                // -1 and errno, or how many came
    int64_t lamina.write_all(int32_t file, const void *data, int64_t count)
    const char *lamina.error_text(void)                                             // the system's words for errno
    int32_t lamina.output_open(const char *path, int32_t number, lamina_output *output, char *error)
    int32_t lamina.output_close(lamina_output *output, char *error)                 // all data written: close
    int32_t lamina.output_keep(lamina_output *output, char *error)                  // the file gets its name
    void    lamina.output_drop(lamina_output *output)                               // the file never was
"""

from __future__ import annotations

from .platforms import Platform
from .writer import FunctionWriter, Writer

ERROR_SIZE = 1024
PATH_SIZE = 4096  # Linux's PATH_MAX

# An output under way: its file, whether it must be renamed, the name it is to get, its temporary name.
OUTPUT, FILE, IS_TEMPORARY, FINAL, TEMPORARY = "%lamina.output", 0, 1, 2, 3


def file_types() -> str:
    return f"{OUTPUT} = type {{ i32, i32, ptr, [{PATH_SIZE + 64} x i8] }}\n"


def write_file_functions(writer: Writer, row: Platform) -> None:
    """Add all functions of the list above to `writer`."""
    _transfer(writer, "read", "Read up to %count bytes, in as many calls as it takes; -1 (errno) or how many came.")
    _transfer(writer, "write", "Write %count bytes, in as many calls as it takes; -1 (errno) or %count.")
    _error_text(writer)
    _open_output(writer, row)
    _finish_output(writer)


def fail(f: FunctionWriter, text: str, *arguments: str) -> None:
    """In a function with an %error: say what is wrong there and return 1."""
    f.format("%error", ERROR_SIZE, text, *arguments)
    f.ret("i32 1")


def _transfer(writer: Writer, call: str, comment: str) -> None:
    f = writer.function(f"internal i64 @lamina.{call}_all(i32 %file, ptr %data, i64 %count)", comment)
    done = f.variable("i64", 0)
    with f.loop():
        left = f.let(f"sub i64 %count, {done.get()}")
        f.leave_when(f"sle i64 {left}, 0")
        some = f.let(f"call i64 @llvm.smin.i64(i64 {left}, i64 1073741824)")
        moved = f.let(f"call i64 @{call}(i32 %file, ptr {f.element('i8', '%data', done.get())}, i64 {some})")
        f.leave_when(f"eq i64 {moved}, 0")
        with f.when(f"slt i64 {moved}, 0"):
            error = f.load("i32", f.let("call ptr @__errno_location()"))
            with f.when(f"ne i32 {error}, 4  ; EINTR: try again"):
                f.ret("i64 -1")
        more = f.let(f"call i64 @llvm.smax.i64(i64 {moved}, i64 0)")
        done.set(f.let(f"add i64 {done.get()}, {more}"))
    f.ret(f"i64 {done.get()}")


def _error_text(writer: Writer) -> None:
    f = writer.function("internal ptr @lamina.error_text()", "The system's words for errno.")
    number = f.load("i32", f.let("call ptr @__errno_location()"))
    f.ret(f"ptr {f.let(f'call ptr @strerror(i32 {number})')}")


def _open_output(writer: Writer, row: Platform) -> None:
    f = writer.function("internal i32 @lamina.output_open(ptr %path, i32 %number, ptr %output, ptr %error)",
                        "Open what %path names: standard output for \"-\"; a pipe or device as it is; else a new file\n"
                        "beside it (named by process and %number), which gets the name when it is whole.")
    is_temporary, final = f.field(OUTPUT, "%output", IS_TEMPORARY), f.field(OUTPUT, "%output", FINAL)
    file, name = f.field(OUTPUT, "%output", FILE), f.field(OUTPUT, "%output", TEMPORARY)
    f.do(f"store i32 0, ptr {is_temporary}")
    f.do(f"store i32 1, ptr {file}")
    f.do(f"store ptr %path, ptr {final}")
    with f.when(f"eq i32 {f.let('call i32 @strcmp(ptr %path, ptr ' + f.string('-') + ')')}, 0"):
        f.ret("i32 0")
    status, permissions = f.variable("[256 x i8]"), f.variable("i32", -1)
    absent = f.let(f"call i64 (i64, ...) @syscall(i64 {row.newfstatat}, i32 -100, ptr %path, ptr {status.at}, i32 0)")
    with f.when(f"eq i64 {absent}, 0"):
        mode = f.load("i32", f.element("i8", status.at, row.stat_mode_offset))
        kind = f.let(f"and i32 {mode}, {0o170000}")
        with f.when(f"ne i32 {kind}, {0o100000}  ; not a regular file"):
            direct = f.let("call i32 (ptr, i32, ...) @open(ptr %path, i32 524289)  ; O_WRONLY | O_CLOEXEC")
            f.do(f"store i32 {direct}, ptr {file}")
            with f.when(f"slt i32 {direct}, 0"):
                fail(f, "can't be written: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
            f.ret("i32 0")
        permissions.set(f.let(f"and i32 {mode}, {0o777}"))
        resolved = f.let("call ptr @realpath(ptr %path, ptr null)")
        with f.when(f"ne ptr {resolved}, null"):
            f.do(f"store ptr {resolved}, ptr {final}")
    length = f.let(f"call i64 @strlen(ptr {f.load('ptr', final)})")
    with f.when(f"sge i64 {length}, {PATH_SIZE}"):
        fail(f, "can't be written: the name is too long")
    f.format(name, PATH_SIZE + 64, "%s.%d-%d.tmp", f"ptr {f.load('ptr', final)}", f"i32 {f.let('call i32 @getpid()')}",
             "i32 %number")
    f.do(f"call i32 @unlink(ptr {name})  ; left by a process of this number that was killed")
    created = f.let(f"call i32 (ptr, i32, ...) @open(ptr {name}, i32 {0o1 | 0o100 | 0o200 | 0o2000000}, i32 {0o666})"
                    "  ; O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC")
    f.do(f"store i32 {created}, ptr {file}")
    with f.when(f"slt i32 {created}, 0"):
        fail(f, "can't be written: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    f.do(f"store i32 1, ptr {is_temporary}")
    with f.when(f"sge i32 {permissions.get()}, 0"):
        f.do(f"call i32 @fchmod(i32 {created}, i32 {permissions.get()})  ; as the file that it replaces")
    f.ret("i32 0")


def _finish_output(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.output_close(ptr %output, ptr %error)",
                        "Close an output whose data is written; some file systems report a full disk only here.")
    file = f.load_field(OUTPUT, "%output", FILE, "i32")
    with f.when(f"sgt i32 {file}, 2"):
        with f.when(f"ne i32 {f.let(f'call i32 @close(i32 {file})')}, 0"):
            fail(f, "can't be written: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    f.ret("i32 0")

    f = writer.function("internal i32 @lamina.output_keep(ptr %output, ptr %error)", "Give a closed output its name.")
    with f.when(f"eq i32 {f.load_field(OUTPUT, '%output', IS_TEMPORARY, 'i32')}, 0"):
        f.ret("i32 0")
    name, final = f.field(OUTPUT, "%output", TEMPORARY), f.load_field(OUTPUT, "%output", FINAL, "ptr")
    with f.when(f"ne i32 {f.let(f'call i32 @rename(ptr {name}, ptr {final})')}, 0"):
        fail(f, "can't be written: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    f.do(f"store i32 0, ptr {f.field(OUTPUT, '%output', IS_TEMPORARY)}")
    f.ret("i32 0")

    f = writer.function("internal void @lamina.output_drop(ptr %output)", "Remove what has not got its name.")
    with f.when(f"ne i32 {f.load_field(OUTPUT, '%output', IS_TEMPORARY, 'i32')}, 0"):
        f.do(f"call i32 @unlink(ptr {f.field(OUTPUT, '%output', TEMPORARY)})")
    f.ret()
