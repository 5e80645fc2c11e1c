"""How does a program without Python read and write .npy files?  As LLVM IR over open, read and write.

The format is NumPy's (numpy/lib/format.py, NEP 1): a magic string, a version, the length of a header, the header (a
Python dict literal with descr, fortran_order and shape), the data. Versions 1.0, 2.0 and 3.0 are read, 1.0 is written.
Nothing is read beyond the array, so several arrays may follow one another on a pipe.

    int32_t lamina.npy_read_header(int32_t file, lamina_npy *header, char *error)   // 0, or 1 and what is wrong
    int32_t lamina.npy_read_data(int32_t file, void *to, int64_t bytes, char *error)
    int32_t lamina.npy_write(int32_t file, const char *descr, const int64_t *extents, int64_t rank, const void *data,
                             int64_t bytes)                                         // 0, or -1 and errno
"""

from __future__ import annotations

from .files import fail
from .writer import FunctionWriter, Writer

MAX_RANK = 32
MAX_HEADER = 65535  # bytes; version 1.0 can't have more

# What a header says: descr such as "<f4", whether the array is in Fortran order, its rank, and the shape as written.
HEADER, DESCR, FORTRAN, RANK, EXTENTS, SHAPE_TEXT, SHAPE_LENGTH = "%lamina.npy", 0, 1, 2, 3, 4, 5

# The names of NumPy's types by what stands behind the byte order in descr; ml_dtypes saves bfloat16 as V2.
DESCRS = {"bool": "b1", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "uint8": "u1", "uint16": "u2",
          "uint32": "u4", "uint64": "u8", "float16": "f2", "bfloat16": "V2", "float32": "f4", "float64": "f8",
          "complex64": "c8", "complex128": "c16"}


def npy_types() -> str:
    return f"{HEADER} = type {{ [32 x i8], i64, i64, [{MAX_RANK} x i64], ptr, i64, [{MAX_HEADER + 1} x i8] }}\n"


def write_npy_functions(writer: Writer) -> None:
    """Add all functions of the list above to `writer`; they call those of `files`."""
    _make_printable(writer)
    _skip_blanks(writer)
    _parse_shape(writer)
    _parse_header(writer)
    _type_name(writer)
    _read_header(writer)
    _read_data(writer)
    _format_shape(writer)
    _write_array(writer)


def _make_printable(writer: Writer) -> None:
    f = writer.function("internal void @lamina.make_printable(ptr %text, i64 %length)",
                        "Make blanks spaces and what no header has question marks: it may end up in a message.")
    with f.count_to("%length") as i:
        at = f.element("i8", "%text", i)
        character = f.load("i8", at)
        for blank in "\t\n\r":
            with f.when(f"eq i8 {character}, {ord(blank)}"):
                f.do(f"store i8 32, ptr {at}")
        for odd in ("slt", 32), ("eq", 127):  # signed: bytes from 128 on are less than 32
            with f.when(f"{odd[0]} i8 {f.load('i8', at)}, {odd[1]}"):
                f.do(f"store i8 63, ptr {at}")
    f.ret()


def _skip_blanks(writer: Writer) -> None:
    f = writer.function("internal i8 @lamina.skip_blanks(ptr %cursor)",
                        "Move the cursor (a ptr) over spaces; return the character there.")
    with f.loop():
        at = f.load("ptr", "%cursor")
        character = f.load("i8", at)
        with f.when(f"ne i8 {character}, 32"):
            f.ret(f"i8 {character}")
        _advance(f)


def _advance(f: FunctionWriter, count=1) -> None:
    f.do(f"store ptr {f.element('i8', f.load('ptr', '%cursor'), count)}, ptr %cursor")


def _expect(f: FunctionWriter, character: str) -> None:
    """Step over one character, or return 1 if another is there."""
    found = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
    with f.when(f"ne i8 {found}, {ord(character)}  ; {character}"):
        f.ret("i32 1")
    _advance(f)


def _parse_shape(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.parse_shape(ptr %cursor, ptr %header)",
                        'Read a tuple such as "(3, 4)", "(3,)" or "()"; Python 2 wrote "(3L, 4L)". 1: it is none.')
    rank, after = f.variable("i64", 0), f.variable("ptr")
    f.do("call i8 @lamina.skip_blanks(ptr %cursor)")
    begin = f.load("ptr", "%cursor")
    _expect(f, "(")
    with f.loop():
        first = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        f.leave_when(f"eq i8 {first}, {ord(')')}  ; )")
        with f.when(f"sge i64 {rank.get()}, {MAX_RANK}"):
            f.ret("i32 1")
        at = f.load("ptr", "%cursor")
        extent = f.let(f"call i64 @strtol(ptr {at}, ptr {after.at}, i32 10)")
        for wrong in (f"eq ptr {after.get()}, {at}", f"slt i64 {extent}, 0", f"eq i64 {extent}, {(1 << 63) - 1}"):
            with f.when(wrong):
                f.ret("i32 1")
        f.do(f"store i64 {extent}, ptr {f.element('i64', f.field(HEADER, '%header', EXTENTS), rank.get())}")
        rank.set(f.let(f"add i64 {rank.get()}, 1"))
        f.do(f"store ptr {after.get()}, ptr %cursor")
        with f.when(f"eq i8 {f.load('i8', after.get())}, {ord('L')}"):
            _advance(f)
        mark = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        f.leave_when(f"eq i8 {mark}, {ord(')')}  ; )")
        _expect(f, ",")
    _expect(f, ")")
    f.do(f"store i64 {rank.get()}, ptr {f.field(HEADER, '%header', RANK)}")
    f.do(f"store ptr {begin}, ptr {f.field(HEADER, '%header', SHAPE_TEXT)}")
    end, start = (f.let(f"ptrtoint ptr {p} to i64") for p in (f.load("ptr", "%cursor"), begin))
    f.do(f"store i64 {f.let(f'sub i64 {end}, {start}')}, ptr {f.field(HEADER, '%header', SHAPE_LENGTH)}")
    f.ret("i32 0")


def _parse_header(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.parse_header(ptr %text, ptr %header)",
                        "Read the dict of a header. 1: it is none, or not with just these three keys.")
    cursor_slot, seen = f.variable("ptr", "%text"), f.variable("i64", 0)
    f.do(f"%cursor = getelementptr i8, ptr {cursor_slot.at}, i64 0")
    _expect(f, "{")

    def quoted() -> tuple[str, str]:
        """Step over a string; its first character and its length."""
        quote = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        is_single, is_double = f.is_(f"eq i8 {quote}, 39"), f.is_(f"eq i8 {quote}, 34")
        with f.when(f"eq i1 {f.let(f'or i1 {is_single}, {is_double}')}, false"):
            f.ret("i32 1")
        _advance(f)
        begin = f.load("ptr", "%cursor")
        end = f.let(f"call ptr @strchr(ptr {begin}, i32 {f.let(f'zext i8 {quote} to i32')})")
        with f.when(f"eq ptr {end}, null"):
            f.ret("i32 1")
        f.do(f"store ptr {f.element('i8', end, 1)}, ptr %cursor")
        last, first = (f.let(f"ptrtoint ptr {p} to i64") for p in (end, begin))
        return begin, f.let(f"sub i64 {last}, {first}")

    with f.loop():
        first = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        f.leave_when(f"eq i8 {first}, {ord('}')}  ; }}")
        key, length = quoted()
        _expect(f, ":")
        value = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        known = f.variable("i64", 0)

        def is_key(name: str) -> str:
            right_length = f.is_(f"eq i64 {length}, {len(name)}")
            same = f.is_(f"eq i32 {f.let(f'call i32 @strncmp(ptr {key}, ptr {f.string(name)}, i64 {len(name)})')}, 0")
            return f.let(f"and i1 {right_length}, {same}")

        with f.when(is_key("descr")):
            known.set(1)
            descr = f.field(HEADER, "%header", DESCR)
            with f.when(f"eq i8 {value}, {ord('[')}"):  # records: no type of ours, and the rest does not matter
                f.format(descr, 32, "[")
                f.ret("i32 0")
            begin, size = quoted()
            with f.when(f"sge i64 {size}, 32"):
                f.ret("i32 1")
            f.format(descr, 32, "%.*s", f"i32 {f.let(f'trunc i64 {size} to i32')}", f"ptr {begin}")
        with f.when(is_key("fortran_order")):
            for word, flag in (("True", 1), ("False", 0)):
                at = f.load("ptr", "%cursor")
                same = f.let(f"call i32 @strncmp(ptr {at}, ptr {f.string(word)}, i64 {len(word)})")
                with f.when(f"eq i32 {same}, 0"):
                    known.set(2)
                    f.do(f"store i64 {flag}, ptr {f.field(HEADER, '%header', FORTRAN)}")
                    _advance(f, len(word))
        with f.when(is_key("shape")):
            with f.when(f"eq i32 {f.let('call i32 @lamina.parse_shape(ptr %cursor, ptr %header)')}, 0"):
                known.set(4)
        with f.when(f"eq i64 {known.get()}, 0"):
            f.ret("i32 1")
        seen.set(f.let(f"or i64 {seen.get()}, {known.get()}"))
        mark = f.let("call i8 @lamina.skip_blanks(ptr %cursor)")
        f.leave_when(f"eq i8 {mark}, {ord('}')}  ; }}")
        _expect(f, ",")
    _expect(f, "}")
    with f.when(f"ne i8 {f.let('call i8 @lamina.skip_blanks(ptr %cursor)')}, 0"):
        f.ret("i32 1")
    f.ret(f"i32 {f.let('zext i1 ' + f.is_(f'ne i64 {seen.get()}, 7') + ' to i32')}")


def _type_name(writer: Writer) -> None:
    f = writer.function("internal ptr @lamina.type_name(ptr %descr)",
                        'The name of the type that a descr such as "<f4" denotes, else the descr itself.')
    behind = f.element("i8", "%descr", 1)
    for name, descr in DESCRS.items():
        with f.when(f"eq i32 {f.let(f'call i32 @strcmp(ptr {behind}, ptr {f.string(descr)})')}, 0"):
            f.ret(f"ptr {f.string(name)}")
    f.ret("ptr %descr")


def _read_header(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.npy_read_header(i32 %file, ptr %header, ptr %error)",
                        "Read and check a file up to its data; refuse what is no plain C-ordered little-endian array.")
    begin = f.variable("[16 x i8]")
    text = f.field(HEADER, "%header", 6)

    def read(to: str, count, what: str) -> str:
        got = f.let(f"call i64 @lamina.read_all(i32 %file, ptr {to}, i64 {count})")
        with f.when(f"slt i64 {got}, 0"):
            fail(f, "can't be read: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
        if what:
            with f.when(f"slt i64 {got}, {count}"):
                fail(f, what)
        return got

    got = read(begin.at, 8, "")
    with f.when(f"eq i64 {got}, 0"):
        fail(f, "is empty")
    is_zip = f.let(f"call i32 @memcmp(ptr {begin.at}, ptr {f.string('PK')}, i64 2)")
    with f.when(f"eq i32 {is_zip}, 0"):
        fail(f, "is an .npz archive: give the .npy files that it holds one by one")
    differs = f.let(f"call i32 @memcmp(ptr {begin.at}, ptr @lamina.magic, i64 6)")
    is_short = f.let("zext i1 " + f.is_(f"slt i64 {got}, 8") + " to i32")
    with f.when(f"ne i32 {f.let(f'or i32 {differs}, {is_short}')}, 0"):
        fail(f, "is not an .npy file")
    major = f.let(f"zext i8 {f.load('i8', f.element('i8', begin.at, 6))} to i32")
    size = f.variable("i64", 4)
    with f.when(f"eq i32 {major}, 1"):
        size.set(2)
    for wrong in (f"eq i32 {major}, 0", f"ugt i32 {major}, 3"):
        with f.when(wrong):
            fail(f, "has version %d of the .npy format; versions 1 to 3 are known", f"i32 {major}")
    length = f.variable("i64", 0)
    read(length.at, size.get(), "ends inside its header")
    with f.when(f"ugt i64 {length.get()}, {MAX_HEADER}"):
        fail(f, f"has a header of %ld bytes; up to {MAX_HEADER} are read", f"i64 {length.get()}")
    read(text, length.get(), "ends inside its header")
    f.do(f"store i8 0, ptr {f.element('i8', text, length.get())}")
    f.do(f"call void @lamina.make_printable(ptr {text}, i64 {length.get()})")
    malformed = f.variable("i32", f.let(f"call i32 @lamina.parse_header(ptr {text}, ptr %header)"))
    descr = f.field(HEADER, "%header", DESCR)
    order = f.load("i8", descr)
    with f.when(f"eq i32 {malformed.get()}, 0"):
        known = f.let(f"call ptr @memchr(ptr {f.string('<>|=[')}, i32 {f.let(f'zext i8 {order} to i32')}, i64 5)")
        malformed.set(f.let("zext i1 " + f.is_(f"eq ptr {known}, null") + " to i32"))
    with f.when(f"ne i32 {malformed.get()}, 0"):
        fail(f, "has a header that can't be understood: %.100s", f"ptr {text}")
    with f.when(f"eq i8 {order}, {ord('[')}"):
        fail(f, "holds records, not an array of numbers")
    with f.when(f"eq i8 {order}, {ord('>')}"):
        width = f.load("i8", f.element("i8", descr, 2))
        with f.when(f"ne i8 {width}, {ord('1')}"):
            fail(f, "is big-endian (%s): save it as little-endian, x.astype(x.dtype.newbyteorder('<'))", f"ptr {descr}")
    fortran, rank = f.load_field(HEADER, "%header", FORTRAN, "i64"), f.load_field(HEADER, "%header", RANK, "i64")
    with f.when(f"ne i64 {fortran}, 0"):
        with f.when(f"sgt i64 {rank}, 1"):
            fail(f, "is in Fortran order: save numpy.ascontiguousarray(x)")
    f.ret("i32 0")


def _read_data(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.npy_read_data(i32 %file, ptr %to, i64 %bytes, ptr %error)",
                        "Read the data behind a header: all of it, or an error.")
    got = f.let("call i64 @lamina.read_all(i32 %file, ptr %to, i64 %bytes)")
    with f.when(f"slt i64 {got}, 0"):
        fail(f, "can't be read: %s", f"ptr {f.let('call ptr @lamina.error_text()')}")
    with f.when(f"slt i64 {got}, %bytes"):
        fail(f, "is truncated: its header promises %ld bytes of data, it holds %ld", "i64 %bytes", f"i64 {got}")
    f.ret("i32 0")


def _format_shape(writer: Writer) -> None:
    f = writer.function("internal void @lamina.format_shape(ptr %to, ptr %extents, i64 %rank)",
                        'Extents as Python writes a tuple, "(3, 4)", "(3,)" or "()", to a buffer of 1024 characters.')
    length = f.variable("i64", 0)

    def append(text: str, *arguments: str) -> None:
        at = f.element("i8", "%to", length.get())
        f.format(at, 32, text, *arguments)
        length.set(f.let(f"add i64 {length.get()}, {f.let(f'call i64 @strlen(ptr {at})')}"))

    append("(")
    with f.count_to("%rank") as i:
        with f.when(f"sgt i64 {i}, 0"):
            append(", ")
        append("%ld", f"i64 {f.load('i64', f.element('i64', '%extents', i))}")
    with f.when("eq i64 %rank, 1"):
        append(",")
    append(")")
    f.ret()


def _write_array(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.npy_write(i32 %file, ptr %descr, ptr %extents, i64 %rank, ptr %data, "
                        "i64 %bytes)", "Write a whole .npy file, version 1.0, its data aligned to 64 bytes; -1: errno.")
    shape, text = f.variable("[1024 x i8]"), f.variable("[2048 x i8]")
    f.do(f"call void @lamina.format_shape(ptr {shape.at}, ptr %extents, i64 %rank)")
    content = f.element("i8", text.at, 10)
    f.format(content, 2000, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", "ptr %descr", f"ptr {shape.at}")
    length = f.let(f"call i64 @strlen(ptr {content})")
    total = f.let(f"and i64 {f.let(f'add i64 {length}, 74')}, -64")  # 10 before it, 1 for the newline, rounded up
    padding = f.let(f"sub i64 {total}, {f.let(f'add i64 {length}, 10')}")
    f.do(f"call void @llvm.memset.p0.i64(ptr {f.element('i8', content, length)}, i8 32, i64 {padding}, i1 false)")
    f.do(f"store i8 10, ptr {f.element('i8', text.at, f.let(f'sub i64 {total}, 1'))}")
    f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {text.at}, ptr @lamina.magic, i64 8, i1 false)")
    header = f.let(f"trunc i64 {f.let(f'sub i64 {total}, 10')} to i16")
    f.do(f"store i16 {header}, ptr {f.element('i8', text.at, 8)}, align 1")
    for data, count in ((text.at, total), ("%data", "%bytes")):
        with f.when(f"slt i64 {f.let(f'call i64 @lamina.write_all(i32 %file, ptr {data}, i64 {count})')}, {count}"):
            f.ret("i32 -1")
    f.ret("i32 0")
