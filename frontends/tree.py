"""How are nested containers of arrays handled?  Pytrees: flatten to leaves and a structure, and back.

Containers are dict, list, tuple, named tuples, None (no leaves) and registered classes; everything else is a leaf.
Dicts are taken in the order of their keys, so that two dicts with the same items are the same tree.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Callable, Hashable, Iterable, Iterator

from ..compiler.core.errors import LaminaError
from ..compiler.core.location import capture

LEAF = "*"


class TreeError(LaminaError, ValueError):
    """Trees whose structures do not fit, at the user's line."""

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message, location=capture(), hint=hint)


class Structure:
    """The shape of a tree without its leaves: compares and hashes by value; `count` leaves go into it."""

    __slots__ = ("key", "count", "_hash")

    def __init__(self, key, count: int):
        self.key = key  # LEAF, or (kind, what unflatten needs, keys of children)
        self.count = count
        self._hash = hash(key)

    def __eq__(self, other) -> bool:
        return isinstance(other, Structure) and self._hash == other._hash and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Structure({_show(self.key)})"


def _show(key) -> str:
    if key == LEAF:
        return LEAF
    kind, data, children = key
    inside = [_show(c) for c in children]
    if kind is dict:
        return "{" + ", ".join(f"{k!r}: {c}" for k, c in zip(data, inside)) + "}"
    if kind is list:
        return f"[{', '.join(inside)}]"
    if kind is tuple:
        return f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"
    if kind is None:
        return "None"
    return f"{kind.__name__}({', '.join(inside)})"


# ---- registered classes ----------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class _Entry:
    flatten: Callable[[Any], tuple[Iterable, Hashable]]
    unflatten: Callable[[Hashable, tuple], Any]
    names: Callable[[Hashable, int], Iterable[str]]


_registry: dict[type, _Entry] = {}


def register_type(cls: type, flatten: Callable, unflatten: Callable, names: Callable | None = None) -> type:
    """Make `cls` a container: `flatten(x) -> (children, data)`, `unflatten(data, children) -> x`, data hashable.

    `names(data, count)` gives each child's part of its path, such as ".weight"; by default "[0]", "[1]" ...
    """
    _registry[cls] = _Entry(flatten, unflatten, names or (lambda data, count: [f"[{i}]" for i in range(count)]))
    return cls


def register(cls: type | None = None, *, static: Iterable[str] = ()):
    """Make a dataclass a container; used plain or as a decorator. Its fields are children, but for those named in
    `static` (or made with `field(metadata={"static": True})`), which are part of the structure and hashable.
    """
    if cls is None:
        return lambda cls: register(cls, static=static)
    if not dataclasses.is_dataclass(cls):
        raise TreeError(f"{cls.__name__} is no dataclass", hint="register_type takes any class with flatten and "
                                                                "unflatten")
    fixed = set(static)
    fields = [f for f in dataclasses.fields(cls)]
    if fixed - {f.name for f in fields}:
        raise TreeError(f"{cls.__name__} has no field {', '.join(sorted(fixed - {f.name for f in fields}))}")
    fixed |= {f.name for f in fields if f.metadata.get("static")}
    children = tuple(f.name for f in fields if f.name not in fixed)
    constant = tuple(f.name for f in fields if f.name in fixed)

    def flatten(x):
        return tuple(getattr(x, name) for name in children), tuple(getattr(x, name) for name in constant)

    def unflatten(data, values):
        x = object.__new__(cls)
        for name, value in (*zip(children, values), *zip(constant, data)):
            object.__setattr__(x, name, value)
        return x
    return register_type(cls, flatten, unflatten, lambda data, count: [f".{name}" for name in children])


def _is_namedtuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _children(x) -> tuple[Any, Any, Iterable] | None:
    """(kind, data, children) of a container; None for a leaf."""
    if x is None:
        return None, (), ()
    cls = type(x)
    if cls is tuple or cls is list:
        return cls, (), x
    if issubclass(cls, dict):
        keys = _ordered(x)
        return dict, keys, [x[k] for k in keys]
    entry = _registry.get(cls)
    if entry is not None:
        children, data = entry.flatten(x)
        try:
            hash(data)
        except TypeError:
            raise TreeError(f"the static data of {cls.__name__} is not hashable: {data!r}",
                            hint="make it tuples, strings and numbers") from None
        return cls, data, tuple(children)
    if _is_namedtuple(cls):
        return cls, (), x
    return LEAF, None, ()


def _ordered(x: dict) -> tuple:
    try:
        return tuple(sorted(x))
    except TypeError:
        return tuple(sorted(x, key=lambda k: (type(k).__name__, repr(k))))


def _names(kind, data, count: int) -> Iterable[str]:
    """Each child's part of its path."""
    if kind is dict:
        return [f"[{k!r}]" for k in data]
    if kind in (tuple, list):
        return [f"[{i}]" for i in range(count)]
    if kind in _registry:
        return _registry[kind].names(data, count)
    return [f".{name}" for name in getattr(kind, "_fields", ())]


# ---- the functions ---------------------------------------------------------------------------------------------------
def flatten(tree, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, Structure]:
    """The leaves of `tree` in order, and its structure. `is_leaf(x)` may stop at containers."""
    leaves: list = []
    key = _flatten(tree, leaves, is_leaf)
    return leaves, Structure(key, len(leaves))


def _flatten(x, leaves: list, is_leaf):
    if is_leaf is not None and is_leaf(x):
        leaves.append(x)
        return LEAF
    kind, data, children = _children(x)
    if kind is LEAF:
        leaves.append(x)
        return LEAF
    return kind, data, tuple([_flatten(c, leaves, is_leaf) for c in children])


def unflatten(structure: Structure, leaves: Iterable):
    """The tree of this structure with these leaves."""
    leaves = list(leaves)
    if len(leaves) != structure.count:
        raise TreeError(f"{len(leaves)} leaves for a tree of {structure.count}: {structure}")
    return _unflatten(structure.key, iter(leaves))


def _unflatten(key, leaves: Iterator):
    if key == LEAF:
        return next(leaves)
    kind, data, children = key
    if kind is None:
        return None
    values = [_unflatten(c, leaves) for c in children]
    if kind is dict:
        return dict(zip(data, values))
    if kind is list:
        return values
    if kind is tuple:
        return tuple(values)
    if kind in _registry:
        return _registry[kind].unflatten(data, tuple(values))
    return kind(*values)


def leaves(tree, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves of `tree` in order."""
    return flatten(tree, is_leaf)[0]


def structure(tree, is_leaf: Callable[[Any], bool] | None = None) -> Structure:
    """The structure of `tree`."""
    return flatten(tree, is_leaf)[1]


def map(function: Callable, tree, *rest, is_leaf: Callable[[Any], bool] | None = None):
    """`function` of each leaf of `tree`, with the leaves at the same places of `rest`, as a tree of the same
    structure."""
    first, shape = flatten(tree, is_leaf)
    others = []
    for other in rest:
        found, other_shape = flatten(other, is_leaf)
        if other_shape != shape:
            raise TreeError(f"trees differ {difference(shape, other_shape)}",
                            hint="tree.map takes the leaves at the same places of trees of one structure")
        others.append(found)
    return unflatten(shape, [function(*values) for values in zip(first, *others)])


def spread(prefix, tree, is_leaf: Callable[[Any], bool] | None = None, what: str = "a prefix") -> list:
    """For each leaf of `tree`, the leaf of `prefix` at its place or above it; `what` names the prefix in errors.

    A leaf of `prefix` stands for everything below its place: True for all of `tree`, {"a": True, "b": False} for two
    parts.
    """
    found, shape = flatten(prefix, is_leaf)
    rest, result = iter(found), []

    def visit(above, key, path: str):
        if above == LEAF:
            result.extend([next(rest)] * _count(key))
            return
        if key == LEAF or above[0] is not key[0] or above[1] != key[1] or len(above[2]) != len(key[2]):
            apart = difference(Structure(above, 0), Structure(key, 0))
            apart = apart.replace("at the root", f"at {path}") if path else apart
            raise TreeError(f"{what} and the tree that they are for differ {apart}",
                            hint="a leaf stands for all below its place; else the structure is the same")
        for name, x, y in zip(_names(key[0], key[1], len(key[2])), above[2], key[2]):
            visit(x, y, path + name)
    visit(shape.key, structure(tree, is_leaf).key, "")
    return result


def _count(key) -> int:
    """How many leaves a tree of this structure has."""
    return 1 if key == LEAF else sum([_count(child) for child in key[2]])


def flatten_with_paths(tree, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[tuple[str, Any]], Structure]:
    """(path, leaf) in order, and the structure; a path reads like Python: "['layers'][0].weight"."""
    found, shape = flatten(tree, is_leaf)
    return list(zip(paths(shape), found)), shape


def broadcast_prefix(prefix, structure: Structure, is_leaf: Callable[[Any], bool]) -> list:
    """For each leaf of `structure` the leaf of `prefix`, a tree of its upper part, that stands at or above it.

    `is_leaf` says what a leaf of the prefix is (None may be one). TreeError where the two do not fit.
    """
    found: list = []

    def visit(part, key, path: str):
        if is_leaf(part):
            found.extend([part] * len(paths(Structure(key, 0))))
            return
        kind, data, children = _children(part)
        if kind == LEAF:
            raise TreeError(f"at {path or 'the root'}: {part!r} is no leaf of a prefix")
        children = list(children)
        if key == LEAF or (kind, data) != key[:2] or len(children) != len(key[2]):
            flat = [LEAF if k == LEAF else (*k[:2], (LEAF,) * len(k[2])) for k in ((kind, data, children), key)]
            what = difference(*(Structure(k, 0) for k in flat))
            raise TreeError(what.replace("the root", path) if path else what)
        for name, child, inner in zip(_names(kind, data, len(children)), children, key[2]):
            visit(child, inner, path + name)
    visit(prefix, structure.key, "")
    return found


def paths(structure: Structure) -> list[str]:
    """The path of each leaf, in order."""
    found: list[str] = []

    def visit(key, path: str):
        if key == LEAF:
            found.append(path)
        elif key[0] is not None:
            for name, child in zip(_names(key[0], key[1], len(key[2])), key[2]):
                visit(child, path + name)
    visit(structure.key, "")
    return found


def dotted(path: str) -> str:
    """A path as part of a name: "['layers'][0].weight" is ".layers.0.weight"."""
    return re.sub(r"\[(['\"]?)(.*?)\1\]", r".\2", path)


def difference(a: Structure, b: Structure) -> str:
    """Where two structures differ first, in words: "at ['w']: a leaf and None"."""
    def kind_of(key) -> str:
        return "a leaf" if key == LEAF else "None" if key[0] is None else key[0].__name__

    def visit(x, y, path: str) -> str | None:
        if x == y:
            return None
        if x == LEAF or y == LEAF or x[0] is not y[0]:
            return f"at {path or 'the root'}: {kind_of(x)} and {kind_of(y)}"
        if x[0] is dict and x[1] != y[1]:
            missing, more = [k for k in x[1] if k not in y[1]], [k for k in y[1] if k not in x[1]]
            return (f"at {path or 'the root'}: " + " and ".join(
                f"key{'s' * (len(keys) > 1)} {', '.join([repr(k) for k in keys])} only in the {which}"
                for keys, which in ((missing, "first"), (more, "second")) if keys))
        if x[1] != y[1]:
            return f"at {path or 'the root'}: {x[0].__name__} with {x[1]!r} and with {y[1]!r}"
        if len(x[2]) != len(y[2]):
            return f"at {path or 'the root'}: {x[0].__name__}s of {len(x[2])} and {len(y[2])} items"
        for name, left, right in zip(_names(x[0], x[1], len(x[2])), x[2], y[2]):
            found = visit(left, right, path + name)
            if found:
                return found
        return None
    return visit(a.key, b.key, "") or "nowhere"
