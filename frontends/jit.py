"""How is a function compiled when it is called?  `jit` traces it once for each signature and calls native code after
that."""

from __future__ import annotations

import functools
import inspect
import threading
from dataclasses import dataclass
from types import MethodType
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ..compiler.core.errors import LaminaError, TraceError
from ..compiler.core.options import Options
from ..compiler.graph.graph import Graph
from . import tree
from .array.operands import as_array, weak_kind
from .array.tracer import current_trace, user_location
from .compile import executable
from .trace import Traced, trace_call

_WEAK = (("bool",), ("int",), ("float",))


@dataclass(frozen=True)
class Signature:
    """What one trace was made for: the tree of the arguments, each leaf's type, and the static values."""

    structure: tree.Structure
    leaves: tuple
    static: tuple

    def difference(self, other: "Signature", names: Sequence[str]) -> list[str]:
        """What is different in `other`, in words."""
        if self.structure != other.structure:
            return [f"the structure of the arguments differs {tree.difference(self.structure, other.structure)}"]
        found = []
        for name, a, b in zip(names, self.leaves, other.leaves):
            if len(a) != len(b) or len(a) == 1 and a != b:
                found.append(f"{name} changed from {_leaf_text(a)} to {_leaf_text(b)}")
                continue
            if len(a) == 2 and a[0] != b[0]:
                found.append(f"shape of {name} changed from {list(a[0])} to {list(b[0])}")
            if len(a) == 2 and a[1] != b[1]:
                found.append(f"dtype of {name} changed from {a[1].name} to {b[1].name}")
        before, after = dict(self.static), dict(other.static)
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                found.append(f"static argument {name} changed from {_static_text(before, name)} to "
                             f"{_static_text(after, name)}")
        return found


def _leaf_text(key: tuple) -> str:
    return f"a Python {key[0]}" if len(key) == 1 else f"an array of {key[1].name}{list(key[0])}"


def _static_text(values: dict, name: str) -> str:
    return repr(values[name][1]) if name in values else "its default"


@dataclass
class _Entry:
    """One compiled signature."""

    run: Callable
    structure: tree.Structure

    def __call__(self, arrays: Sequence[np.ndarray]):
        results = self.run(*arrays)
        return results[0] if self.structure.key == tree.LEAF else tree.unflatten(self.structure, results)


class Jit:
    """A function that is compiled for each signature of its arguments at the first call with it. Made by `jit`."""

    def __init__(self, function: Callable, static_argnames: Iterable[str], static_argnums: Iterable[int],
                 donate_argnums: Iterable[int], device: str, options: Options | None):
        functools.update_wrapper(self, function)
        self.device = device
        self.options = options
        self._names, self._places = _static_arguments(function, _several(static_argnames), _several(static_argnums))
        self._donated = _several(donate_argnums)
        if set(self._donated) & set(self._places):
            raise TraceError("a static argument can't be donated", hint="donate arrays alone")
        self._entries: dict[Any, _Entry] = {}
        self._flat: dict[tuple, _Entry] = {}  # those whose arguments all are arrays, by shapes and dtypes
        self._reasons: list[str] = []
        self._signatures: list[Signature] = []
        self._lock = threading.RLock()

    def __call__(self, *args, **kwargs):
        if current_trace() is not None:
            return self.__wrapped__(*args, **kwargs)
        if not kwargs and not self._places and all(type(x) is np.ndarray for x in args):
            entry = self._flat.get(tuple([(x.shape, x.dtype) for x in args]))  # the common case, without a tree
            if entry is not None:
                return entry(args)
        dynamic, keywords, static = self._split(args, kwargs)
        leaves, structure = tree.flatten((dynamic, keywords))
        signature = structure, tuple([_key(x) for x in leaves]), static
        try:
            entry = self._entries.get(signature)
        except TypeError:
            raise self._unhashable(static) from None
        if entry is None:
            entry = self._compile(signature, args, kwargs)
        return entry([x if type(x) is np.ndarray else as_array(x) for x in leaves])

    def __get__(self, instance, owner=None):
        return self if instance is None else MethodType(self, instance)

    def _split(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, tuple]:
        """The traced arguments by position and by name, and the static ones with their names."""
        if not self._names and not self._places:
            return args, kwargs, ()
        static = [(self._places[i], (type(x), x)) for i, x in enumerate(args) if i in self._places]
        static += [(name, (type(x), x)) for name, x in sorted(kwargs.items()) if name in self._names]
        return (tuple(x for i, x in enumerate(args) if i not in self._places),
                {name: x for name, x in kwargs.items() if name not in self._names}, tuple(static))

    def _unhashable(self, static: tuple) -> TraceError:
        for name, (_, value) in static:
            try:
                hash(value)
            except TypeError:
                return TraceError(f"static argument {name!r} is not hashable: {value!r} of {type(value).__name__}",
                                  location=user_location(), hint="make it a number, a string or a tuple, or trace it")
        return TraceError("an argument's tree has a part that is not hashable", location=user_location())

    def _compile(self, key, args: tuple, kwargs: dict) -> _Entry:
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            traced = self._trace(args, kwargs)
            signature = Signature(*key)
            run = executable(traced.graph, device=self.device, options=self.options, donate=self._donated_leaves(args))
            self._reasons.append(self._reason(signature, traced.graph))
            self._signatures.append(signature)
            entry = self._entries[key] = _Entry(run, traced.structure)
            if not kwargs and not self._places and all(type(x) is np.ndarray for x in args):
                self._flat[tuple([(x.shape, x.dtype) for x in args])] = entry
            return entry

    def _trace(self, args: tuple, kwargs: dict) -> Traced:
        dynamic, keywords, _ = self._split(args, kwargs)
        static = {name: x for name, x in kwargs.items() if name in self._names}
        return trace_call(self.__wrapped__, dynamic, keywords, static=static,
                          static_args={i: x for i, x in enumerate(args) if i in self._places})

    def _donated_leaves(self, args: tuple) -> tuple[int, ...]:
        """The flat places of donated arguments."""
        found, at = [], 0
        for i, x in enumerate(args):
            if i in self._places:
                continue
            count = len(tree.leaves(x))
            found += range(at, at + count) if i in self._donated else ()
            at += count
        return tuple(found)

    def _reason(self, signature: Signature, graph: Graph) -> str:
        if not self._signatures:
            types = ", ".join(f"{p.name}: {p.type}" for p in graph.params)
            return f"first call ({types})" if types else "first call"
        names = [p.name for p in graph.params]
        return min((", ".join(s.difference(signature, names)) for s in self._signatures), key=len)

    # ---- looking -----------------------------------------------------------------------------------------------------
    def explain_retraces(self) -> list[str]:
        """Why each trace was made: the first call, and then what changed from the nearest signature before."""
        return [f"trace {i}: {reason}" for i, reason in enumerate(self._reasons, 1)]

    def cache_size(self) -> int:
        """How many signatures are compiled."""
        return len(self._entries)

    def clear_cache(self) -> None:
        """Forget every compiled signature."""
        with self._lock:
            self._entries.clear()
            self._flat.clear()
            self._reasons.clear()
            self._signatures.clear()

    def trace(self, *args, **kwargs) -> Graph:
        """The graph for these arguments: TensorSpecs, arrays or numbers, or trees of them; static ones as they are."""
        return self._trace(args, kwargs).graph

    def lower(self, *args, **kwargs) -> Graph:
        """The graph for these arguments (JAX's name for `trace`)."""
        return self.trace(*args, **kwargs)

    def compile(self, *args, **kwargs):
        """The Executable for these arguments, which takes and returns flat arrays."""
        return executable(self.trace(*args, **kwargs), device=self.device, options=self.options,
                          donate=self._donated_leaves(args))

    def __repr__(self) -> str:
        return f"<jit of {getattr(self, '__name__', self.__wrapped__)!r}: {len(self._entries)} compiled>"


def _key(leaf) -> tuple:
    """What a compiled function depends on of a leaf: shape and dtype, or the kind of a Python scalar."""
    if type(leaf) is np.ndarray:
        return leaf.shape, leaf.dtype
    kind = weak_kind(leaf)
    if kind is not None:
        return _WEAK[kind]
    try:
        array = as_array(leaf)
    except LaminaError:
        return (type(leaf).__name__,)  # refused by name when it is traced
    return array.shape, array.dtype


def _several(x) -> tuple:
    return (x,) if isinstance(x, (str, int)) else tuple(x)


def _static_arguments(function: Callable, names: tuple, places: tuple) -> tuple[frozenset[str], dict[int, str]]:
    """The names of static arguments, and their places where they can be passed by position."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return frozenset(names), {int(i): f"argument {i}" for i in places}
    by_place = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    known = {p.name for p in parameters if p.kind != p.VAR_POSITIONAL}
    takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters)
    for name in names:
        if name not in known and not takes_any:
            raise TraceError(f"{getattr(function, '__name__', 'the function')} has no argument {name!r} to be static",
                             location=user_location(), hint="it has " + ", ".join(sorted(known)))
    count = len(by_place)
    found = {i: by_place[i] for i in range(count) if by_place[i] in names}
    for i in places:
        place = int(i) + count if i < 0 else int(i)
        found[place] = by_place[place] if place < count else f"argument {place}"
    return frozenset(names) | frozenset(found.values()), found


def jit(function: Callable | None = None, *, static_argnames: str | Iterable[str] = (),
        static_argnums: int | Iterable[int] = (),
        donate_argnums: int | Iterable[int] = (), device: str = "cpu", options: Options | None = None) -> Jit:
    """`function` compiled at its first call for each signature: the tree, shapes and dtypes of its arguments.

    `static_argnames` and `static_argnums` are passed as they are, must be hashable, and are part of the signature.
    `donate_argnums` are arguments whose memory the results may take: don't use them after the call. Inside another
    traced function the function is traced in place. Use it as a decorator, plain or with arguments.
    """
    if function is None:
        return functools.partial(jit, static_argnames=static_argnames, static_argnums=static_argnums,
                                 donate_argnums=donate_argnums, device=device, options=options)
    return Jit(function, static_argnames, static_argnums, donate_argnums, device, options)


def explain_retraces(function: Jit) -> list[str]:
    """Why each trace of a jitted function was made."""
    return function.explain_retraces()
