"""How are a model and what it takes and gives called in C?  Identifiers and types from a manifest, for the header and the code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.errors import UnsupportedError
from .support.platforms import C_FUNCTIONS

_KEYWORDS = frozenset("""alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval
constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
public register reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch template this
thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq""".split())
_TYPES = {"bool": "bool", "float16": "uint16_t", "bfloat16": "uint16_t", "float32": "float", "float64": "double"}
_MOST_PARAMETERS = 127  # of a function that every C compiler takes (C11 5.2.4.1)

OK, ERROR_EXTENT, ERROR_MEMORY, ERROR_CPU, ERROR_FILE, ERROR_FORMAT = range(6)


@dataclass(frozen=True)
class CArray:
    """An input or output: its own name, its identifier, C type, dtype, shape (ints and dims as text), shape as the manifest's forms;
    the number of the input whose memory an output may be given."""

    name: str
    identifier: str
    c_type: str
    dtype: str
    shape: tuple
    form: tuple
    shares: int | None = None

    @property
    def elements(self) -> int | None:
        """The number of elements; None where it depends on dims."""
        count = 1
        for extent in self.form:
            if not isinstance(extent, int):
                return None
            count *= extent
        return count


@dataclass(frozen=True)
class CSymbol:
    """A dim that the caller gives: its own name, its identifier, and its facts (`upper` None: no bound)."""

    name: str
    identifier: str
    lower: int
    upper: int | None
    multiple: int


@dataclass(frozen=True)
class CState:
    """An array that a library keeps from step to step: the numbers of the input that it is and of the output that
    follows it, and whether a step computes that output in the same memory."""

    input: int
    output: int
    is_in_place: bool


@dataclass(frozen=True)
class CModel:
    """A model as C sees it: `name` is the prefix of all its functions.

    `is_typed`: it has a function with a parameter for each array, else only the one that takes arrays of pointers.
    `state`: it is a step, which takes and gives the other arrays alone; the library keeps these.
    """

    name: str
    inputs: tuple[CArray, ...]
    outputs: tuple[CArray, ...]
    symbols: tuple[CSymbol, ...]
    is_typed: bool = True
    state: tuple[CState, ...] = ()

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that a library of the model exports."""
        own = ("init", "step", "array", "save", "load", "free") if self.state else ("run", "extents")
        rest = tuple(f"{self.name}_{f}" for f in (*own, "arena_bytes", "set_threads", "release", "version"))
        return ((self.name,) if self.is_typed else ()) + rest

    @property
    def given(self) -> tuple[CArray, ...]:
        """The inputs that the caller gives."""
        kept = {s.input for s in self.state}
        return tuple(a for i, a in enumerate(self.inputs) if i not in kept)

    @property
    def returned(self) -> tuple[CArray, ...]:
        """The outputs that the caller gets."""
        kept = {s.output for s in self.state}
        return tuple(a for i, a in enumerate(self.outputs) if i not in kept)

    @property
    def kept(self) -> tuple[CArray, ...]:
        """The arrays of the state."""
        return tuple(self.inputs[s.input] for s in self.state)


def c_model(manifest: dict, name: str, typed: bool = True) -> CModel:
    """The model of `manifest` under the prefix `name`; UnsupportedError where that can't be one.

    Without the `typed` function NAME, which a program does not need, NAME may be what C or its library calls something else.
    """
    is_taken = typed and (name in _KEYWORDS or name in C_FUNCTIONS or name == "main")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or is_taken:
        raise UnsupportedError(f"{name!r} can't be the name of a model's C functions",
                               hint="give another with name=: letters, digits and _, no keyword and no function of the C library")
    rows = manifest.get("state", ())
    taken = {"STATE", f"{name}_state".upper()} if rows else set()  # a parameter of the step, and its type

    def identifier(text: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_]", "_", text).lstrip("_") or "array"
        if base[0].isdigit() or base in _KEYWORDS or base == name:
            base = f"a_{base}"
        result, number = base, 2
        while result.upper() in taken:
            result, number = f"{base}_{number}", number + 1
        taken.add(result.upper())
        return result

    def arrays(rows) -> tuple[CArray, ...]:
        return tuple(CArray(r["name"], identifier(r["name"]), _TYPES.get(r["dtype"], f"{r['dtype']}_t"), r["dtype"], tuple(r["shape"]),
                            tuple(r["form"]), r.get("shares")) for r in rows)
    symbols = tuple(CSymbol(n, identifier(n), *facts) for n, facts in manifest["symbols"].items())
    inputs, outputs = arrays(manifest["inputs"]), arrays(manifest["outputs"])
    state = tuple(CState(r["input"], r["output"], outputs[r["output"]].shares == r["input"]) for r in rows)
    parameters = len(symbols) + len(inputs) + len(outputs) - 2 * len(state) + bool(state)
    if state and parameters > _MOST_PARAMETERS:
        raise UnsupportedError(f"the step takes and gives {parameters - 1} arrays and dims beside its state, "
                               f"C functions up to {_MOST_PARAMETERS - 1}", hint="stack or concatenate some of them")
    return CModel(name, inputs, outputs, symbols, typed and not state and parameters <= _MOST_PARAMETERS, state)


def identifier_of(text: str) -> str:
    """An identifier made of a file's name, as the default name of a model."""
    base = re.sub(r"[^A-Za-z0-9_]", "_", text).strip("_") or "model"
    return base if base[0].isalpha() else f"model_{base}"
