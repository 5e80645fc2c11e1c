"""How is a compiled model called without Python?  Its C functions, as LLVM IR around the program's entry points.

For a model NAME (see `c_names` for the names, `header` for what C sees):

    int32_t NAME(dims..., inputs..., outputs...);
    int32_t NAME_run(const int64_t *dims, void *const *inputs, void *const *outputs, int32_t threads);
    void    NAME_extents(const int64_t *dims, int64_t *extents);
    int64_t NAME_arena_bytes(const int64_t *dims);
    void    NAME_set_threads(int32_t n);      void NAME_release(void);      const char *NAME_version(void);

Every call takes an arena for itself: one of the few that are kept between calls, else new memory. Nothing is locked: an arena is taken
by swapping its address for null and given back by swapping null for it, so no thread waits and none sees another's.
A model that is a step has the functions of `state` in place of the first three.
The constants are another object, `NAME_constants`, which holds them as data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from ..core.errors import CompilerError
from ..targets.target import Target
from .c_names import ERROR_CPU, ERROR_EXTENT, ERROR_MEMORY, CModel
from .state import StateFile, write_state_functions
from .support.platforms import declarations, platform
from .support.writer import FunctionWriter, Writer

KEPT_ARENAS = 16
_HEADER = 64  # bytes before an arena: its size


def standalone_ir(model: CModel, manifest: dict, offsets: Sequence[int], version: str,
                  state_file: StateFile | None = None) -> str:
    """The module with the C functions of `model`; `offsets` says where in `NAME_constants` each constant lies, and
    behind them the first values of a state, whose files are like `state_file`."""
    constant_offsets = offsets[:len(manifest["constants"])]
    writer, name, entry, triple = Writer(), model.name, manifest["entry"], manifest["target"]["triple"]
    words = ", ".join(f"i64 {o}" for o in constant_offsets)
    writer.add(f"""declare i32 @{entry}_run_frame(ptr, i32)
declare i64 @{entry}_arena(ptr)
declare void @lamina_set_max_threads(i32)
@{name}.kept = internal global [{KEPT_ARENAS} x ptr] zeroinitializer, align 64
@{name}.offsets = internal constant [{len(constant_offsets)} x i64] {f"[{words}]" if words else "zeroinitializer"}
; The address lies in memory, since data of more than 2 GiB are out of reach of what code can add to its own.
@{name}_constants = external hidden global i8
@{name}.constants = internal global ptr @{name}_constants
""")
    _write_take(writer, name)
    _write_give(writer, name)
    checks_cpu = _write_cpu_check(writer, name, manifest["target"])
    _write_run(writer, model, manifest, len(constant_offsets), checks_cpu)
    if state_file is None:
        _write_extents(writer, model)
    else:
        write_state_functions(writer, model, state_file, offsets[len(constant_offsets):], platform(triple))
    f = writer.function(f"i64 @{name}_arena_bytes(ptr %dims)", "The working memory of one run with these dims.")
    f.ret(f"i64 {f.let(f'call i64 @{entry}_arena(ptr %dims)')}")
    f = writer.function(f"void @{name}_set_threads(i32 %n)", "Limit the threads of all runs from now on.")
    f.do("call void @lamina_set_max_threads(i32 %n)")
    f.ret()
    f = writer.function(f"ptr @{name}_version()", "The compiler's version.")
    f.ret(f"ptr {f.string(version)}")
    if model.is_typed:
        _write_typed(writer, model)
    text = writer.text()
    return f'target triple = "{triple}"\n{text}\n{declarations(text, platform(triple))}'


def baseline(target: Target) -> Target:
    """The plainest machine of the target's architecture: the code that finds out what the CPU has must run on all."""
    if target.architecture == "x86_64":
        return replace(target, name="x86-64", cpu="x86-64", features="", vector_bytes=16)
    return target


def _write_take(writer: Writer, name: str) -> None:
    f = writer.function(f"internal ptr @{name}.take(i64 %bytes)", "An arena of at least so many bytes that is this call's alone; null if there is none.")
    with f.count_to(KEPT_ARENAS) as i:
        block = f.let(f"atomicrmw xchg ptr {f.element('ptr', f'@{name}.kept', i)}, ptr null acquire, align 8")
        with f.when(f"ne ptr {block}, null"):
            size = f.load("i64", block)
            with f.when(f"sge i64 {size}, %bytes"):
                f.ret(f"ptr {block}")
            f.do(f"call void @free(ptr {block})")
            f.leave()
    place = f.variable("ptr", "null")
    status = f.let(f"call i32 @posix_memalign(ptr {place.at}, i64 64, i64 {f.let(f'add i64 %bytes, {_HEADER}')})")
    with f.when(f"ne i32 {status}, 0"):
        f.ret("ptr null")
    f.do(f"store i64 %bytes, ptr {place.get()}")
    f.ret(f"ptr {place.get()}")


def _write_give(writer: Writer, name: str) -> None:
    f = writer.function(f"internal void @{name}.give(ptr %block)", "Keep an arena for later calls, or free it if enough are kept.")
    with f.count_to(KEPT_ARENAS) as i:
        swap = f.let(f"cmpxchg ptr {f.element('ptr', f'@{name}.kept', i)}, ptr null, ptr %block release monotonic, align 8")
        with f.when(f.let(f"extractvalue {{ ptr, i1 }} {swap}, 1")):
            f.ret()
    f.do("call void @free(ptr %block)")
    f.ret()

    f = writer.function(f"void @{name}_release()", "Free the arenas that are kept.")
    with f.count_to(KEPT_ARENAS) as i:
        block = f.let(f"atomicrmw xchg ptr {f.element('ptr', f'@{name}.kept', i)}, ptr null acquire, align 8")
        f.do(f"call void @free(ptr {block})")
    f.ret()


def _write_run(writer: Writer, model: CModel, manifest: dict, constants: int, checks_cpu: bool) -> None:
    name, entry, layout = model.name, manifest["entry"], manifest["frame"]
    linkage = "internal " if model.state else ""
    f = writer.function(f"{linkage}i32 @{name}_run(ptr %dims, ptr %inputs, ptr %outputs, i32 %threads)",
                        "Check the dims, fill a frame, run the program in an arena.")
    if checks_cpu:
        with f.when(f"eq i32 {f.let(f'call i32 @{name}.has_cpu()')}, 0"):
            f.ret(f"i32 {ERROR_CPU}")
    frame = f.variable(f"[{layout['size']} x i64]")

    def copy(source: str, count: int, first: int) -> None:
        """Words from an array of the caller to the frame."""
        if count:
            place = f.element("i64", frame.at, first)
            f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {place}, ptr {source}, i64 {8 * count}, i1 false)")

    for i, symbol in enumerate(model.symbols):
        value = f.load("i64", f.element("i64", "%dims", i))
        rest = f.let(f"srem i64 {value}, {symbol.multiple}")
        wrong = [f"slt i64 {value}, {symbol.lower}", f"ne i64 {rest}, 0"]
        if symbol.upper is not None:
            wrong.append(f"sgt i64 {value}, {symbol.upper}")
        for comparison in wrong:
            with f.when(comparison):
                f.ret(f"i32 {ERROR_EXTENT}")
    block = f.let(f"call ptr @{name}.take(i64 {f.let(f'call i64 @{entry}_arena(ptr %dims)')})")
    with f.when(f"eq ptr {block}, null"):
        f.ret(f"i32 {ERROR_MEMORY}")
    f.do(f"store ptr {f.element('i8', block, _HEADER)}, ptr {f.element('i64', frame.at, layout['arena'])}")
    f.do(f"store ptr null, ptr {f.element('i64', frame.at, layout['profile'])}")
    base = f.load("ptr", f"@{name}.constants")
    with f.count_to(constants) as i:
        offset = f.load("i64", f.element("i64", f"@{name}.offsets", i))
        at = f.element("i64", frame.at, f.let(f"add i64 {i}, {layout['constants']}"))
        f.do(f"store ptr {f.element('i8', base, offset)}, ptr {at}")
    copy("%inputs", len(model.inputs), layout["inputs"])
    copy("%outputs", len(model.outputs), layout["outputs"])
    copy("%dims", len(model.symbols), layout["symbols"])
    status = f.let(f"call i32 @{entry}_run_frame(ptr {frame.at}, i32 %threads)")
    f.do(f"call void @{name}.give(ptr {block})")
    f.ret(f"i32 {status}")


def _write_extents(writer: Writer, model: CModel) -> None:
    f = writer.function(f"void @{model.name}_extents(ptr %dims, ptr %extents)", "The extents of all inputs and outputs.")
    values = {s.name: f.load("i64", f.element("i64", "%dims", i)) for i, s in enumerate(model.symbols)}
    at = 0
    for array in (*model.inputs, *model.outputs):
        for form in array.form:
            f.do(f"store i64 {_extent(f, form, values)}, ptr {f.element('i64', '%extents', at)}")
            at += 1
    f.ret()


def _extent(f: FunctionWriter, form, values: dict[str, str]) -> str:
    """The value of a dim in the manifest's form, as i64 text."""
    if isinstance(form, int):
        return str(form)
    if isinstance(form, str):
        return values[form]
    if form[0] == "floordiv":
        numerator = _extent(f, form[1], values)
        quotient, rest = f.let(f"sdiv i64 {numerator}, {form[2]}"), f.let(f"srem i64 {numerator}, {form[2]}")
        below = f.let(f"sext i1 {f.is_(f'slt i64 {rest}, 0')} to i64")
        return f.let(f"add i64 {quotient}, {below}")
    total = "0"
    for coefficient, atoms in form[1]:
        term = str(coefficient)
        for atom in atoms:
            term = f.let(f"mul i64 {term}, {_extent(f, atom, values)}")
        total = f.let(f"add i64 {total}, {term}")
    return total


def _write_typed(writer: Writer, model: CModel) -> None:
    words = [f"i64 %d{i}" for i in range(len(model.symbols))]
    words += [f"ptr %i{i}" for i in range(len(model.inputs))] + [f"ptr %o{i}" for i in range(len(model.outputs))]
    f = writer.function(f"i32 @{model.name}({', '.join(words)})", "The model as one function of its dims and arrays.")
    places = []
    for prefix, type, rows in (("d", "i64", model.symbols), ("i", "ptr", model.inputs), ("o", "ptr", model.outputs)):
        slot = f.variable(f"[{len(rows)} x {type}]")
        places.append(f"ptr {slot.at}")
        for i in range(len(rows)):
            f.do(f"store {type} %{prefix}{i}, ptr {f.element(type, slot.at, i)}")
    status = f.let(f"call i32 @{model.name}_run({', '.join(places)}, i32 0)")
    f.ret(f"i32 {status}")


# Where CPUID tells of each feature: leaf, register (1: ebx, 2: ecx), bit (Intel SDM volume 2A, CPUID).
_CPUID = {"ssse3": (1, 2, 9), "fma": (1, 2, 12), "sse4_2": (1, 2, 20), "movbe": (1, 2, 22), "popcnt": (1, 2, 23), "f16c": (1, 2, 29),
          "avx2": (7, 1, 5), "bmi2": (7, 1, 8), "avx512f": (7, 1, 16), "avx512dq": (7, 1, 17), "avx512cd": (7, 1, 28),
          "avx512bw": (7, 1, 30), "avx512vl": (7, 1, 31)}
_OSXSAVE = 1 << 27
_YMM, _ZMM = 0x6, 0xE6  # the register states that the operating system must keep (XCR0)


def _write_cpu_check(writer: Writer, name: str, target: dict) -> bool:
    """The function that asks the CPU for what the target requires; False where there is nothing to ask, or no way.

    CPUID is inline assembly, which LLVM's Python binding can assemble for the machine that compiles only.
    """
    import llvmlite.binding as llvm
    architecture = target["triple"].split("-")[0]
    if architecture != "x86_64" or not llvm.get_process_triple().startswith(architecture) or not target["required"]:
        return False
    masks: dict[tuple[int, int], int] = {}
    for feature in target["required"]:
        if feature not in _CPUID:
            raise CompilerError(f"no test is known for the CPU feature {feature!r} of {target['name']}")
        leaf, register, bit = _CPUID[feature]
        masks[leaf, register] = masks.get((leaf, register), 0) | 1 << bit
    states = _ZMM if "avx512f" in target["required"] else _YMM if "avx2" in target["required"] else 0
    if states:
        masks[1, 2] |= _OSXSAVE
    writer.add(f"@{name}.cpu = internal global i32 0  ; 0: not asked yet, 1: it has all, 2: it lacks some")
    f = writer.function(f"internal i32 @{name}.has_cpu()", "1 if the CPU and the system have what the code needs, else 0.")
    known = f.let(f"load atomic i32, ptr @{name}.cpu monotonic, align 4")
    with f.when(f"ne i32 {known}, 0"):
        f.ret(f"i32 {f.let('and i32 ' + known + ', 1')}")

    def lacks() -> None:
        f.do(f"store atomic i32 2, ptr @{name}.cpu monotonic, align 4")
        f.ret("i32 0")

    def cpuid(leaf: int) -> str:
        # rbx may be LLVM's own base register, so it is swapped with another one around the instruction
        return f.let('call { i32, i32, i32, i32 } asm sideeffect "xchgq %rbx, ${1:q}\\0Acpuid\\0Axchgq %rbx, ${1:q}", '
                     f'"={{ax}},=&r,={{cx}},={{dx}},0,2,~{{dirflag}},~{{fpsr}},~{{flags}}"(i32 {leaf}, i32 0)')
    most = f.let(f"extractvalue {{ i32, i32, i32, i32 }} {cpuid(0)}, 0")
    with f.when(f"ult i32 {most}, {max(leaf for leaf, _ in masks)}"):
        lacks()
    for leaf in sorted({leaf for leaf, _ in masks}):
        answer = cpuid(leaf)
        for register in (1, 2):
            mask = masks.get((leaf, register))
            if mask:
                mask -= mask >> 31 << 32  # as LLVM writes an i32
                has = f.let(f"and i32 {f.let(f'extractvalue {{ i32, i32, i32, i32 }} {answer}, {register}')}, {mask}")
                with f.when(f"ne i32 {has}, {mask}"):
                    lacks()
    if states:
        kept = f.let('call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}"(i32 0)')
        both = f.let(f"and i32 {f.let(f'extractvalue {{ i32, i32 }} {kept}, 0')}, {states}")
        with f.when(f"ne i32 {both}, {states}"):
            lacks()
    f.do(f"store atomic i32 1, ptr @{name}.cpu monotonic, align 4")
    f.ret("i32 1")
    return True
