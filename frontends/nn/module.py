"""What is a model?  A Module: a function with named parameters, and a pytree of them.

A class derives from Module and sets its attributes in `__init__`. What holds arrays or modules becomes children of the
pytree: its parameters. Everything else (sizes, functions, flags) is static: part of the structure, compared and hashed.
After `__init__` a module never changes; `replace` makes another one. Since a module is a tree, every transformation,
optimizer and tree function takes it as it takes one array (the idea of Equinox: Kidger and Garcia, 2021).
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np

from ...compiler.core.dims import format_dim
from ...runtime.signature import TensorSpec
from .. import tree
from ..array.operands import Array, dtype_of
from ..array.tracer import Tracer, trace_error
from .recording import recording_of


class Fields(NamedTuple):
    """Which attributes of a module are children of the pytree, which of these are buffers, and which are static."""

    children: tuple[str, ...]
    buffers: tuple[str, ...]
    static: tuple[str, ...]


class Buffer(NamedTuple):
    """Marks an array that a module keeps and no gradient trains. Made by `buffer`."""

    value: Array


def buffer(value: Array) -> Any:
    """`value` as an attribute that is state, not a parameter: `self.running_mean = nn.buffer(lm.zeros(8))`."""
    return Buffer(value)


# ---- as a tree -------------------------------------------------------------------------------------------------------
def _flatten(module: Module) -> tuple[tuple, tuple]:
    attributes = vars(module)
    fields = attributes.get("_fields")
    if fields is None:
        raise trace_error(f"{type(module).__name__} is used as a tree in its own __init__")
    return tuple([attributes[n] for n in fields.children]), (fields, tuple([attributes[n] for n in fields.static]))


def _unflatten(cls: type, data: tuple, values: tuple) -> Module:
    module = object.__new__(cls)
    fields, static = data
    vars(module).update(zip(fields.children, values))
    vars(module).update(zip(fields.static, static), _fields=fields)
    return module


def _names(data: tuple, count: int) -> list[str]:
    return [f".{name}" for name in data[0].children]


class _Construction(type):
    """Closes each module once its `__init__` is through, and makes every class of modules a container for trees."""

    def __new__(mcs, name, bases, body):
        cls = super().__new__(mcs, name, bases, body)
        if "__init__" not in body and inspect.get_annotations(cls):
            cls = dataclasses.dataclass(eq=False, repr=False)(cls)
        return tree.register_type(cls, _flatten, lambda data, values: _unflatten(cls, data, values), _names)

    def __call__(cls, *args, **kwargs):
        module = super().__call__(*args, **kwargs)
        vars(module)["_fields"] = _classify(module)
        return module


class Module(metaclass=_Construction):
    """Base class of layers and models: parameters as attributes, computation in `__call__`.

        class Perceptron(nn.Module):
            def __init__(self, width, *, key):
                first, second = lm.random.split(key)
                self.hidden = nn.Linear(width, 64, key=first)
                self.out = nn.Linear(64, 10, key=second)

            def __call__(self, x):
                return self.out(lm.relu(self.hidden(x)))

    A class without `__init__` that annotates attributes gets one that takes them, as a dataclass does.
    """

    def __setattr__(self, name: str, value) -> None:
        if "_fields" in vars(self):
            raise trace_error(f"{type(self).__name__} can't be changed: {name!r} is set after __init__",
                              hint=f"module.replace({name}=...) makes a module with another {name}; state that changes "
                                   f"in training is given to self.record")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise trace_error(f"{type(self).__name__} can't be changed: {name!r} is deleted")

    def __call__(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def __repr__(self) -> str:
        return _show(self, "")

    def replace(self, **changes) -> Module:
        """This module with other attributes: `layer.replace(weight=w)`. What is a child stays one."""
        fields: Fields = vars(self)["_fields"]
        unknown = [name for name in changes if name not in fields.children and name not in fields.static]
        if unknown:
            raise trace_error(f"{type(self).__name__} has no attribute {unknown[0]!r}",
                              hint="it has " + ", ".join(fields.children + fields.static))
        made = object.__new__(type(self))
        vars(made).update(vars(self) | changes)
        return made

    # ---- in training -------------------------------------------------------------------------------------------------
    def record(self, **changes) -> None:
        """Say what buffers become: `self.record(running_mean=...)`. `nn.apply` returns a model that has them.

        TraceError: outside of `nn.apply`, or inside a loop, branch or transformation that it is not the innermost of.
        """
        missing = [name for name in changes if name not in vars(self)["_fields"].buffers]
        if missing:
            raise trace_error(f"{type(self).__name__} has no buffer {missing[0]!r} to record",
                              hint=f"set self.{missing[0]} = nn.buffer(...) in __init__")
        recording_of(f"{type(self).__name__} in training changes its state").updates.setdefault(
            id(self), {}).update(changes)

    def recorded(self, name: str) -> Array:
        """The buffer `name` as the last `record` of this application left it, or as it was before."""
        recording = recording_of(f"{type(self).__name__} in training changes its state")
        return recording.updates.get(id(self), {}).get(name, getattr(self, name))

    def next_key(self) -> Array:
        """A key for random numbers in training, another one at each call, derived from the key of `nn.apply`."""
        return recording_of(f"{type(self).__name__} in training draws random numbers").next_key(type(self).__name__)


# ---- attributes ------------------------------------------------------------------------------------------------------
def is_array(x) -> bool:
    """Whether `x` stands for an array: what makes an attribute a parameter."""
    return isinstance(x, (np.ndarray, Tracer, TensorSpec))


def is_module(x) -> bool:
    return isinstance(x, Module)


def _classify(module: Module) -> Fields:
    children, buffers, static = [], [], []
    for name, value in vars(module).items():
        if isinstance(value, Buffer):
            vars(module)[name] = value.value
            children.append(name)
            buffers.append(name)
        elif _is_child(module, name, value):
            children.append(name)
        else:
            static.append(name)
    return Fields(tuple(children), tuple(buffers), tuple(static))


def _is_child(module: Module, name: str, value) -> bool:
    """Whether an attribute holds arrays or modules, and nothing else that a tree would take for an array."""
    leaves = tree.leaves(value, is_module)
    if any(is_array(x) or is_module(x) for x in leaves):
        wrong = [x for x in leaves if not is_array(x) and not is_module(x)]
        if wrong:
            raise trace_error(f"{type(module).__name__}.{name} mixes arrays with {type(wrong[0]).__name__} "
                              f"{wrong[0]!r}", hint="nn.Sequential and nn.Function hold functions; keep constants in "
                                                    "an attribute of their own")
        return True
    try:
        hash(value)
    except TypeError:
        if not leaves:
            return True  # an empty list or dict, which may as well be of modules
        raise trace_error(f"{type(module).__name__}.{name} is a {type(value).__name__} without arrays, which is not "
                          f"hashable: {value!r}", hint="static attributes are numbers, strings, tuples, functions; "
                                                       "lm.asarray makes a parameter") from None
    return False


# ---- walking ---------------------------------------------------------------------------------------------------------
def map_modules(function: Callable[[Module, Module], Any], model):
    """`model` with each module m in it replaced by function(m, m with its children replaced), innermost first."""
    def visit(x):
        if not is_module(x):
            return x
        children = vars(x)["_fields"].children
        return function(x, x.replace(**{name: tree.map(visit, getattr(x, name), is_leaf=is_module)
                                        for name in children}))
    return tree.map(visit, model, is_leaf=is_module)


class NamedLeaf(NamedTuple):
    """A leaf of a model: its dotted name ("layers.0.weight"), its value, and whether it is a buffer."""

    name: str
    value: Any
    is_buffer: bool


def named_leaves(model, *, holes: bool = False) -> Iterator[NamedLeaf]:
    """The leaves of a tree of modules and arrays, in the order of `lm.tree`; where `holes`, None is one as well."""
    def is_leaf(x) -> bool:
        return is_module(x) or holes and x is None

    def visit(x, name: str, is_buffer: bool):
        for path, value in tree.flatten_with_paths(x, is_leaf)[0]:
            place = name + tree.dotted(path)
            if not is_module(value):
                yield NamedLeaf(place.removeprefix("."), value, is_buffer)
                continue
            fields: Fields = vars(value)["_fields"]
            for child in fields.children:
                yield from visit(getattr(value, child), f"{place}.{child}", child in fields.buffers)
    yield from visit(model, "", False)


# ---- as text ---------------------------------------------------------------------------------------------------------
def _show(x, indent: str) -> str:
    """A module with its parts, one a line, arrays by type."""
    if is_array(x):
        dtype = x.dtype if isinstance(x, TensorSpec) else dtype_of(x).name
        return f"{dtype}[{', '.join(map(format_dim, x.shape))}]"
    inner = indent + "  "
    if isinstance(x, (list, tuple)):
        parts = [f"{i}: {_show(v, inner)}" for i, v in enumerate(x)]
        return "[\n" + "".join(f"{inner}{p}\n" for p in parts) + f"{indent}]"
    if isinstance(x, dict):
        return "{\n" + "".join(f"{inner}{k}: {_show(v, inner)}\n" for k, v in x.items()) + f"{indent}}}"
    if not is_module(x):
        return _static_text(x)
    fields = vars(x).get("_fields")
    if fields is None:
        return f"{type(x).__name__}(...)"
    static = [(n, getattr(x, n)) for n in fields.static if not n.startswith("_")]
    parts = [f"{n}={_static_text(v)}" for n, v in static if v is not None and v is not False and v != ()]
    children = [(n, getattr(x, n)) for n in fields.children if getattr(x, n) is not None]
    parts += [f"{n}: {_show(v, inner)}" for n, v in children]
    if all(is_array(v) for _, v in children):
        return f"{type(x).__name__}({', '.join(parts)})"
    return f"{type(x).__name__}(\n" + "".join(f"{inner}{p}\n" for p in parts) + f"{indent})"


def _static_text(value) -> str:
    return getattr(value, "__name__", repr(value))
