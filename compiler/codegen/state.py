"""How does a library keep what a training step changes?  C functions around a step, as LLVM IR.

    NAME_state *NAME_init(void);                              void NAME_free(NAME_state *state);
    int32_t NAME_step(NAME_state *state, dims..., inputs..., outputs...);
    void   *NAME_array(NAME_state *state, int32_t number);
    int32_t NAME_save(const NAME_state *state, const char *path);
    int32_t NAME_load(NAME_state *state, const char *path);

A state is one block: the addresses of its arrays, the addresses of a second array for each that a step can't compute in
the memory of the old one, and the arrays. A step that computes one in its second array swaps the two addresses after
it, so a step that is not run leaves the state as it was. What is saved begins with bytes that are known here, since all
names and shapes are; what is loaded is read whole before any of it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from .c_names import ERROR_FILE, ERROR_FORMAT, ERROR_MEMORY, OK, CModel
from .support.files import ERROR_SIZE, FILE, IS_TEMPORARY, OUTPUT, file_types, write_file_functions
from .support.platforms import Platform
from .support.safetensors import MAX_HEADER, Tensor, tensor_types, write_tensor_functions, write_tensor_table
from .support.writer import FunctionWriter, Writer, escape

_ALIGNMENT = 64


@dataclass(frozen=True)
class StateFile:
    """A state as a file: what it begins with, up to the data, and its arrays, which follow in this order."""

    header: bytes
    tensors: tuple[Tensor, ...]


def write_state_functions(writer: Writer, model: CModel, file: StateFile, offsets: Sequence[int],
                          row: Platform) -> None:
    """Add the functions of the list above; `offsets` says where in `NAME_constants` each first value lies."""
    name, count = model.name, len(model.state)
    writer.add(file_types() + tensor_types())
    write_file_functions(writer, row)
    write_tensor_functions(writer)
    write_tensor_table(writer, f"@{name}.tensors", file.tensors)
    writer.add(f'@{name}.header = internal constant [{len(file.header)} x i8] c"{escape(file.header)}"\n'
               f"@{name}.saves = internal global i32 0\n")
    places, spares, total = _layout(model, [t.bytes for t in file.tensors])
    _words(writer, f"@{name}.sizes", [t.bytes for t in file.tensors])
    _words(writer, f"@{name}.places", places)
    _words(writer, f"@{name}.spares", spares)
    _words(writer, f"@{name}.first", offsets)
    _write_init(writer, name, count, total)
    _write_step(writer, model)
    f = writer.function(f"ptr @{name}_array(ptr %state, i32 %number)", "An array of the state; null: there is none.")
    with f.when(f"uge i32 %number, {count}"):
        f.ret("ptr null")
    f.ret(f"ptr {f.load('ptr', f.element('ptr', '%state', f.let('zext i32 %number to i64')))}")
    _write_save(writer, name, count, len(file.header))
    _write_load_file(writer, name, count)
    _write_load(writer, name)
    f = writer.function(f"void @{name}_free(ptr %state)", "Free a state; null is none.")
    f.do("call void @free(ptr %state)")
    f.ret()


def _words(writer: Writer, symbol: str, values: Sequence[int]) -> None:
    writer.add(f"{symbol} = internal constant [{len(values)} x i64] [{', '.join(f'i64 {v}' for v in values)}]\n")


def _layout(model: CModel, sizes: Sequence[int]) -> tuple[list[int], list[int], int]:
    """Where the arrays of a state and their second arrays (0: none) begin in its block, and its bytes."""
    at = 16 * len(sizes)
    places, spares = [], []
    for found, is_needed in ((places, [True] * len(sizes)), (spares, [not s.is_in_place for s in model.state])):
        for size, needed in zip(sizes, is_needed):
            at = -(-at // _ALIGNMENT) * _ALIGNMENT
            found.append(at if needed else 0)
            at += size if needed else 0
    return places, spares, at


def _word(f: FunctionWriter, symbol: str, i) -> str:
    return f.load("i64", f.element("i64", symbol, i))


def _copy(f: FunctionWriter, to: str, source: str, size) -> None:
    f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")


def _write_init(writer: Writer, name: str, count: int, total: int) -> None:
    f = writer.function(f"ptr @{name}_init()", "A state with the first values; null if the system gives no memory.")
    block = f.variable("ptr", "null")
    with f.when(f"ne i32 {f.let(f'call i32 @posix_memalign(ptr {block.at}, i64 {_ALIGNMENT}, i64 {total})')}, 0"):
        f.ret("ptr null")
    state, base = block.get(), f.load("ptr", f"@{name}.constants")
    with f.count_to(count) as i:
        array = f.element("i8", state, _word(f, f"@{name}.places", i))
        f.do(f"store ptr {array}, ptr {f.element('ptr', state, i)}")
        spare = f.element("i8", state, _word(f, f"@{name}.spares", i))
        f.do(f"store ptr {spare}, ptr {f.element('ptr', state, f.let(f'add i64 {i}, {count}'))}")
        _copy(f, array, f.element("i8", base, _word(f, f"@{name}.first", i)), _word(f, f"@{name}.sizes", i))
    f.ret(f"ptr {state}")


def _write_step(writer: Writer, model: CModel) -> None:
    name, count = model.name, len(model.state)
    words = ["ptr %state", *(f"i64 %d{i}" for i in range(len(model.symbols)))]
    words += [f"ptr %i{i}" for i in range(len(model.given))] + [f"ptr %o{i}" for i in range(len(model.returned))]
    f = writer.function(f"i32 @{name}_step({', '.join(words)})", "One step: what follows the state takes its place.")
    swapped = [i for i, s in enumerate(model.state) if not s.is_in_place]
    inputs = {s.input: f.load("ptr", f.element("ptr", "%state", i)) for i, s in enumerate(model.state)}
    outputs = {s.output: f.load("ptr", f.element("ptr", "%state", i if s.is_in_place else count + i))
               for i, s in enumerate(model.state)}
    given = iter([f"%i{i}" for i in range(len(model.given))])
    returned = iter([f"%o{i}" for i in range(len(model.returned))])
    places = []
    for type, values in (("i64", [f"%d{i}" for i in range(len(model.symbols))]),
                         ("ptr", [inputs[i] if i in inputs else next(given) for i in range(len(model.inputs))]),
                         ("ptr", [outputs[i] if i in outputs else next(returned) for i in range(len(model.outputs))])):
        slot = f.variable(f"[{len(values)} x {type}]")
        places.append(f"ptr {slot.at}")
        for i, value in enumerate(values):
            f.do(f"store {type} {value}, ptr {f.element(type, slot.at, i)}")
    status = f.let(f"call i32 @{name}_run({', '.join(places)}, i32 0)")
    with f.when(f"ne i32 {status}, {OK}"):
        f.ret(f"i32 {status}")
    for i in swapped:
        state = model.state[i]
        f.do(f"store ptr {outputs[state.output]}, ptr {f.element('ptr', '%state', i)}")
        f.do(f"store ptr {inputs[state.input]}, ptr {f.element('ptr', '%state', count + i)}")
    f.ret(f"i32 {OK}")


def _write_save(writer: Writer, name: str, count: int, header: int) -> None:
    f = writer.function(f"i32 @{name}_save(ptr %state, ptr %path)", "Write the state to a file, whole or not at all.")
    output, error, failed = f.variable(OUTPUT), f.variable(f"[{ERROR_SIZE} x i8]"), f.variable("i1", "false")
    number = f.let(f"atomicrmw add ptr @{name}.saves, i32 1 monotonic")  # two threads may save to one path
    opened = f.let(f"call i32 @lamina.output_open(ptr %path, i32 {number}, ptr {output.at}, ptr {error.at})")
    with f.when(f"ne i32 {opened}, 0"):
        f.ret(f"i32 {ERROR_FILE}")
    file = f.load_field(OUTPUT, output.at, FILE, "i32")

    def fails(condition: str) -> None:
        with f.when(condition):
            failed.set("true")

    fails(f"ne i64 {f.let(f'call i64 @lamina.write_all(i32 {file}, ptr @{name}.header, i64 {header})')}, {header}")
    with f.count_to(count) as i:
        f.leave_when(failed.get())
        array, size = f.load("ptr", f.element("ptr", "%state", i)), _word(f, f"@{name}.sizes", i)
        fails(f"ne i64 {f.let(f'call i64 @lamina.write_all(i32 {file}, ptr {array}, i64 {size})')}, {size}")
    with f.when(f"eq i32 {f.load_field(OUTPUT, output.at, IS_TEMPORARY, 'i32')}, 1"):  # pipes and devices have no fsync
        fails(f"ne i32 {f.let(f'call i32 @fsync(i32 {file})')}, 0")
    fails(f"ne i32 {f.let(f'call i32 @lamina.output_close(ptr {output.at}, ptr {error.at})')}, 0")
    with f.when(f"eq i1 {failed.get()}, false"):
        fails(f"ne i32 {f.let(f'call i32 @lamina.output_keep(ptr {output.at}, ptr {error.at})')}, 0")
    with f.when(failed.get()):
        f.do(f"call void @lamina.output_drop(ptr {output.at})")
        f.ret(f"i32 {ERROR_FILE}")
    f.ret(f"i32 {OK}")


def _write_load(writer: Writer, name: str) -> None:
    f = writer.function(f"i32 @{name}_load(ptr %state, ptr %path)", "Take the arrays of a file, all of them or none.")
    file = f.let("call i32 (ptr, i32, ...) @open(ptr %path, i32 524288)  ; O_RDONLY | O_CLOEXEC")
    with f.when(f"slt i32 {file}, 0"):
        f.ret(f"i32 {ERROR_FILE}")
    status = f.let(f"call i32 @{name}.load_file(ptr %state, i32 {file})")
    f.do(f"call i32 @close(i32 {file})")
    f.ret(f"i32 {status}")


def _write_load_file(writer: Writer, name: str, count: int) -> None:
    f = writer.function(f"internal i32 @{name}.load_file(ptr %state, i32 %file)",
                        "Read an open file, and take its arrays if they are those of the state.")
    length, size, begins = f.variable("i64", 0), f.variable("i64", 0), f.variable(f"[{count} x i64]")

    def memory(bytes: str) -> str:
        found = f.let(f"call ptr @malloc(i64 {f.let(f'add i64 {bytes}, 1')})")
        with f.when(f"eq ptr {found}, null"):
            f.ret(f"i32 {ERROR_MEMORY}")
        return found

    def read(to: str, bytes: str, block: str = "null") -> None:
        got = f.let(f"call i64 @lamina.read_all(i32 %file, ptr {to}, i64 {bytes})")
        with f.when(f"ne i64 {got}, {bytes}"):
            f.do(f"call void @free(ptr {block})")
            is_error = f.is_(f"slt i64 {got}, 0")
            f.ret(f"i32 {f.let(f'select i1 {is_error}, i32 {ERROR_FILE}, i32 {ERROR_FORMAT}')}")

    read(length.at, "8")
    with f.when(f"ugt i64 {length.get()}, {MAX_HEADER}"):
        f.ret(f"i32 {ERROR_FORMAT}")
    header = memory(length.get())
    read(header, length.get(), header)
    f.do(f"store i8 0, ptr {f.element('i8', header, length.get())}")
    wrong = f.let(f"call i32 @lamina.tensors_locate(ptr {header}, ptr @{name}.tensors, i64 {count}, ptr {begins.at}, "
                  f"ptr {size.at})")
    f.do(f"call void @free(ptr {header})")
    with f.when(f"ne i32 {wrong}, 0"):
        f.ret(f"i32 {ERROR_FORMAT}")
    data = memory(size.get())
    read(data, size.get(), data)
    with f.when(f"ne i64 {f.let(f'call i64 @lamina.read_all(i32 %file, ptr {length.at}, i64 1)')}, 0"):
        f.do(f"call void @free(ptr {data})")
        f.ret(f"i32 {ERROR_FORMAT}")
    with f.count_to(count) as i:
        source = f.element("i8", data, f.load("i64", f.element("i64", begins.at, i)))
        _copy(f, f.load("ptr", f.element("ptr", "%state", i)), source, _word(f, f"@{name}.sizes", i))
    f.do(f"call void @free(ptr {data})")
    f.ret(f"i32 {OK}")
