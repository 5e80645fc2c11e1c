"""How does native code find arrays in a safetensors file?  As LLVM IR that reads its header.

The format is a length (8 bytes, little endian), a JSON object {name: {"dtype", "shape", "data_offsets": [begin, end]}}
with strings alone under "__metadata__", and the data. What is looked for are rows of a table: every array of it must
be there, with its dtype and shape, once, and no other one but "padding.N", which aligns the next one.

    int32_t lamina.tensors_locate(const char *header, const lamina_tensor *rows, int64_t count, int64_t *begins,
                                  int64_t *bytes)       // 0: begins has where each lies in the data, bytes all that
                                                        // there must be; 1: no such header, or other arrays
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .writer import FunctionWriter, Writer

MAX_HEADER = 100_000_000  # bytes, as in the format's own reader
MAX_RANK = 64
_LARGEST = 10 ** 17  # before the last digit

# A row: the name as JSON writes it (in ASCII, and as it is), the dtype, the rank, the extents, the bytes.
TENSOR, NAME, PLAIN_NAME, DTYPE, RANK, EXTENTS, BYTES = "%lamina.tensor", 0, 1, 2, 3, 4, 5
# What stands in a header for one array: a string is its first character and its length.
_ENTRY, _DTYPE, _DTYPE_LENGTH, _RANK, _EXTENTS, _BEGIN, _END = "%lamina.entry", 0, 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Tensor:
    """An array in a file: its name there, its dtype by the format's names ("F32"), its shape, its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def write_tensor_table(writer: Writer, symbol: str, tensors: tuple[Tensor, ...]) -> None:
    """Define `symbol`, the rows of `tensors`."""
    rows = []
    for i, t in enumerate(tensors):
        extents = f"[{', '.join(f'i64 {e}' for e in t.shape)}]" if t.shape else "zeroinitializer"
        writer.add(f"{symbol}.{i} = internal constant [{len(t.shape)} x i64] {extents}\n")
        names = [writer.string(json.dumps(t.name, ensure_ascii=ascii)[1:-1]) for ascii in (True, False)]
        rows.append(f"{TENSOR} {{ ptr {names[0]}, ptr {names[1]}, ptr {writer.string(t.dtype)}, "
                    f"i64 {len(t.shape)}, ptr {symbol}.{i}, i64 {t.bytes} }}")
    writer.add(f"{symbol} = internal constant [{len(rows)} x {TENSOR}] [{', '.join(rows)}]\n")


def tensor_types() -> str:
    return (f"{TENSOR} = type {{ ptr, ptr, ptr, i64, ptr, i64 }}\n"
            f"{_ENTRY} = type {{ ptr, i64, i64, [{MAX_RANK} x i64], i64, i64 }}\n")


def write_tensor_functions(writer: Writer) -> None:
    """Add `lamina.tensors_locate` and what it calls to `writer`."""
    _write_skip(writer)
    _write_string(writer)
    _write_integer(writer)
    _write_metadata(writer)
    _write_entry(writer)
    _write_equal(writer)
    _write_locate(writer)


def _advance(f: FunctionWriter) -> None:
    f.do(f"store ptr {f.element('i8', f.load('ptr', '%cursor'), 1)}, ptr %cursor")


def _next(f: FunctionWriter) -> str:
    return f.let("call i8 @lamina.json_skip(ptr %cursor)")


def _expect(f: FunctionWriter, character: str, otherwise: str = "i32 1") -> None:
    """Step over one character, or return where another is there."""
    with f.when(f"ne i8 {_next(f)}, {ord(character)}  ; {character}"):
        f.ret(otherwise)
    _advance(f)


def _call(f: FunctionWriter, call: str) -> None:
    """Call a function that returns 0, or return 1."""
    with f.when(f"ne i32 {f.let('call i32 ' + call)}, 0"):
        f.ret("i32 1")


def _items(f: FunctionWriter, opening: str, closing: str, item) -> None:
    """Read opening, items with commas between them, closing; `item()` reads one."""
    _expect(f, opening)
    is_first = f.variable("i1", "true")
    with f.loop():
        with f.when(is_first.get()):
            is_first.set("false")
            with f.when(f"eq i8 {_next(f)}, {ord(closing)}"):
                f.leave()
        item()
        f.leave_when(f"ne i8 {_next(f)}, {ord(',')}")
        _advance(f)
    _expect(f, closing)


def _string(f: FunctionWriter) -> tuple[str, str]:
    """Read a string: its first character and its length."""
    length = f.variable("i64")
    begin = f.let(f"call ptr @lamina.json_string(ptr %cursor, ptr {length.at})")
    with f.when(f"eq ptr {begin}, null"):
        f.ret("i32 1")
    return begin, length.get()


def _write_skip(writer: Writer) -> None:
    f = writer.function("internal i8 @lamina.json_skip(ptr %cursor)",
                        "Move the cursor (a ptr) over what JSON calls whitespace; return the character there.")
    with f.loop():
        character, is_blank = f.load("i8", f.load("ptr", "%cursor")), "false"
        for blank in " \t\n\r":
            is_blank = f.let(f"or i1 {is_blank}, {f.is_(f'eq i8 {character}, {ord(blank)}')}")
        with f.when(f"eq i1 {is_blank}, false"):
            f.ret(f"i8 {character}")
        _advance(f)


def _write_string(writer: Writer) -> None:
    f = writer.function("internal ptr @lamina.json_string(ptr %cursor, ptr %length)",
                        "Step over a string; its first character, and how long it is as written. Null: there is none.")
    _expect(f, '"', "ptr null")
    begin = f.load("ptr", "%cursor")
    with f.loop():
        character = f.load("i8", f.load("ptr", "%cursor"))
        f.leave_when(f"eq i8 {character}, {ord(chr(34))}")
        with f.when(f"eq i8 {character}, 92  ; an escape: the next one ends no string"):
            _advance(f)
        with f.when(f"eq i8 {f.load('i8', f.load('ptr', '%cursor'))}, 0"):
            f.ret("ptr null")
        _advance(f)
    end, start = (f.let(f"ptrtoint ptr {p} to i64") for p in (f.load("ptr", "%cursor"), begin))
    f.do(f"store i64 {f.let(f'sub i64 {end}, {start}')}, ptr %length")
    _advance(f)
    f.ret(f"ptr {begin}")


def _write_integer(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.json_integer(ptr %cursor, ptr %to)",
                        "Read a whole number that is not negative.")
    value, digits = f.variable("i64", 0), f.variable("i64", 0)
    _next(f)
    with f.loop():
        digit = f.let(f"sub i8 {f.load('i8', f.load('ptr', '%cursor'))}, {ord('0')}")
        f.leave_when(f"ugt i8 {digit}, 9")
        has_zero = f.is_(f"eq i64 {value.get()}, 0  ; JSON has no leading zeros")
        with f.when(f.let(f"and i1 {has_zero}, {f.is_(f'ne i64 {digits.get()}, 0')}")):
            f.ret("i32 1")
        with f.when(f"sgt i64 {value.get()}, {_LARGEST}"):
            f.ret("i32 1")
        shifted = f.let(f"mul i64 {value.get()}, 10")
        value.set(f.let(f"add i64 {shifted}, {f.let(f'zext i8 {digit} to i64')}"))
        digits.set(f.let(f"add i64 {digits.get()}, 1"))
        _advance(f)
    f.do(f"store i64 {value.get()}, ptr %to")
    f.ret(f"i32 {f.let('zext i1 ' + f.is_(f'eq i64 {digits.get()}, 0') + ' to i32')}")


def _write_metadata(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.json_metadata(ptr %cursor)", "Step over an object of strings.")

    def item() -> None:
        _string(f)
        _expect(f, ":")
        _string(f)
    _items(f, "{", "}", item)
    f.ret("i32 0")


def _write_entry(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.json_entry(ptr %cursor, ptr %entry)",
                        "Read what a header says of one array.")
    seen = f.variable("i64", 0)
    rank_at, extents = f.field(_ENTRY, "%entry", _RANK), f.field(_ENTRY, "%entry", _EXTENTS)

    def extent() -> None:
        rank = f.load("i64", rank_at)
        with f.when(f"sge i64 {rank}, {MAX_RANK}"):
            f.ret("i32 1")
        _call(f, f"@lamina.json_integer(ptr %cursor, ptr {f.element('i64', extents, rank)})")
        f.do(f"store i64 {f.let(f'add i64 {rank}, 1')}, ptr {rank_at}")

    def item() -> None:
        key, length = _string(f)
        _expect(f, ":")
        known = f.variable("i64", 0)
        with f.when(_is_text(f, key, length, "dtype")):
            known.set(1)
            begin, count = _string(f)
            f.do(f"store ptr {begin}, ptr {f.field(_ENTRY, '%entry', _DTYPE)}")
            f.do(f"store i64 {count}, ptr {f.field(_ENTRY, '%entry', _DTYPE_LENGTH)}")
        with f.when(_is_text(f, key, length, "shape")):
            known.set(2)
            f.do(f"store i64 0, ptr {rank_at}")
            _items(f, "[", "]", extent)
        with f.when(_is_text(f, key, length, "data_offsets")):
            known.set(4)
            _expect(f, "[")
            _call(f, f"@lamina.json_integer(ptr %cursor, ptr {f.field(_ENTRY, '%entry', _BEGIN)})")
            _expect(f, ",")
            _call(f, f"@lamina.json_integer(ptr %cursor, ptr {f.field(_ENTRY, '%entry', _END)})")
            _expect(f, "]")
        with f.when(f"eq i64 {known.get()}, 0"):
            f.ret("i32 1")
        seen.set(f.let(f"or i64 {seen.get()}, {known.get()}"))
    _items(f, "{", "}", item)
    f.ret(f"i32 {f.let('zext i1 ' + f.is_(f'ne i64 {seen.get()}, 7') + ' to i32')}")


def _write_equal(writer: Writer) -> None:
    f = writer.function("internal i1 @lamina.text_equal(ptr %text, i64 %length, ptr %other)",
                        "Whether a text of so many characters is the zero-terminated one.")
    with f.when(f"ne i64 {f.let('call i64 @strlen(ptr %other)')}, %length"):
        f.ret("i1 false")
    f.ret(f"i1 {f.is_('eq i32 ' + f.let('call i32 @memcmp(ptr %text, ptr %other, i64 %length)') + ', 0')}")


def _is_text(f: FunctionWriter, text: str, length: str, other: str) -> str:
    return f.let(f"call i1 @lamina.text_equal(ptr {text}, i64 {length}, ptr {f.string(other)})")


def _write_locate(writer: Writer) -> None:
    f = writer.function("internal i32 @lamina.tensors_locate(ptr %header, ptr %rows, i64 %count, ptr %begins, "
                        "ptr %bytes)",
                        "Where each array of %rows lies in the data; 1: the header is damaged or of other arrays.")
    slot, entry = f.variable("ptr", "%header"), f.variable(_ENTRY)
    f.do(f"%cursor = getelementptr i8, ptr {slot.at}, i64 0")
    f.do("store i64 0, ptr %bytes")
    with f.count_to("%count") as i:
        f.do(f"store i64 -1, ptr {f.element('i64', '%begins', i)}")

    def same(condition: str) -> None:
        with f.when(f"eq i1 {condition}, false"):
            f.ret("i32 1")

    def of_entry(field: int, type: str) -> str:
        return f.load_field(_ENTRY, entry.at, field, type)

    def equal(text: str, length: str, other: str) -> str:
        return f.let(f"call i1 @lamina.text_equal(ptr {text}, i64 {length}, ptr {other})")

    def check(row: str, place: str, end: str) -> None:
        """Keep where an array lies, which is not known yet, if it is the row's."""
        same(f.is_(f"eq i64 {f.load('i64', place)}, -1"))
        begin = of_entry(_BEGIN, "i64")
        f.do(f"store i64 {begin}, ptr {place}")
        dtype = f.load_field(TENSOR, row, DTYPE, "ptr")
        same(equal(of_entry(_DTYPE, "ptr"), of_entry(_DTYPE_LENGTH, "i64"), dtype))
        rank, extents = f.load_field(TENSOR, row, RANK, "i64"), f.load_field(TENSOR, row, EXTENTS, "ptr")
        same(f.is_(f"eq i64 {of_entry(_RANK, 'i64')}, {rank}"))
        size = f.let(f"mul i64 {rank}, 8")
        differs = f.let(f"call i32 @memcmp(ptr {f.field(_ENTRY, entry.at, _EXTENTS)}, ptr {extents}, i64 {size})")
        same(f.is_(f"eq i32 {differs}, 0"))
        same(f.is_(f"eq i64 {f.let(f'sub i64 {end}, {begin}')}, {f.load_field(TENSOR, row, BYTES, 'i64')}"))

    def item() -> None:
        key, length = _string(f)
        _expect(f, ":")
        is_metadata = _is_text(f, key, length, "__metadata__")
        with f.when(is_metadata):
            _call(f, "@lamina.json_metadata(ptr %cursor)")
        with f.when(f"eq i1 {is_metadata}, false"):
            _call(f, f"@lamina.json_entry(ptr %cursor, ptr {entry.at})")
            end = of_entry(_END, "i64")
            most = f.let(f"call i64 @llvm.smax.i64(i64 {f.load('i64', '%bytes')}, i64 {end})")
            f.do(f"store i64 {most}, ptr %bytes")
            differs = f.let(f"call i32 @strncmp(ptr {key}, ptr {f.string('padding.')}, i64 8)")
            is_known = f.variable("i1", f.is_(f"eq i32 {differs}, 0"))
            with f.count_to("%count") as i:
                row = f.element(TENSOR, "%rows", i)
                names = [equal(key, length, f.load_field(TENSOR, row, n, "ptr")) for n in (NAME, PLAIN_NAME)]
                with f.when(f.let(f"or i1 {names[0]}, {names[1]}")):
                    is_known.set("true")
                    check(row, f.element("i64", "%begins", i), end)
            same(is_known.get())
    _items(f, "{", "}", item)
    with f.when(f"ne i8 {_next(f)}, 0"):
        f.ret("i32 1")
    with f.count_to("%count") as i:
        same(f.is_(f"ne i64 {f.load('i64', f.element('i64', '%begins', i))}, -1"))
    f.ret("i32 0")
