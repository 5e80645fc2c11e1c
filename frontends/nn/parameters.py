"""Which parameters does a model have?  By name: listed, counted, taken apart and put together, exchanged.

Names are the paths of attributes, "layers.0.weight", as in PyTorch's state_dict. Models are trees of modules; lists and
dicts of modules, and modules with TensorSpecs or tracers in place of arrays, are models as well.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

import numpy as np

from ...compiler.core.dims import format_dim
from ...compiler.core.dtypes import DType, as_dtype
from ...compiler.core.errors import LaminaError
from .. import tree
from ..array.operands import Array, as_array, cast, shape_text
from .module import NamedLeaf, is_array, named_leaves


def parameters(model) -> dict[str, Array]:
    """What training changes, by name: the floating arrays that are no buffers."""
    return {leaf.name: leaf.value for leaf in named_leaves(model) if _is_parameter(leaf)}


def buffers(model) -> dict[str, Array]:
    """What a model keeps besides its parameters, by name: running statistics and other state."""
    return {leaf.name: leaf.value for leaf in named_leaves(model) if not _is_parameter(leaf)}


def state_dict(model) -> dict[str, Array]:
    """Parameters and buffers by name, in the order of the tree."""
    return {leaf.name: leaf.value for leaf in named_leaves(model)}


def _is_parameter(leaf: NamedLeaf) -> bool:
    return not leaf.is_buffer and is_array(leaf.value) and _dtype(leaf.value).is_float


def _dtype(x) -> DType:
    return as_dtype(x.dtype)


def count_parameters(model) -> int:
    """How many numbers training changes."""
    total = 0
    for value in parameters(model).values():
        size = 1
        for extent in value.shape:
            size *= extent
        total += size
    return total


def summary(model) -> str:
    """A table of the model's parameters and buffers: name, dtype and shape, how many numbers; and their sum."""
    rows = [(leaf.name, f"{_dtype(leaf.value).name}[{', '.join(map(format_dim, leaf.value.shape))}]",
             "" if _is_parameter(leaf) else "buffer") for leaf in named_leaves(model)]
    first, second = (max([len(row[i]) for row in rows], default=0) for i in (0, 1))
    lines = [f"{name:{first}}  {kind:{second}}  {note}".rstrip() for name, kind, note in rows]
    return "\n".join([*lines, f"{count_parameters(model):,} parameters"])


# ---- taking apart ----------------------------------------------------------------------------------------------------
def partition(model, trainable: Callable[[str], bool] | None = None) -> tuple[Any, Any]:
    """(what is trained, the rest): two models with None in place of what is in the other one.

    By default all parameters are trained, and buffers are the rest. `trainable(name)` freezes those for which it does
    not hold: `nn.partition(model, lambda name: name.startswith("head"))`. Gradients and optimizers take the first, and
    `combine` puts them together.
    """
    flags = [_is_parameter(leaf) and (trainable is None or bool(trainable(leaf.name))) for leaf in named_leaves(model)]
    leaves, structure = tree.flatten(model)
    return (tree.unflatten(structure, [x if flag else None for x, flag in zip(leaves, flags)]),
            tree.unflatten(structure, [None if flag else x for x, flag in zip(leaves, flags)]))


def combine(first, second):
    """The model of two parts that `partition` made: at each place the one that is not None."""
    def is_hole(x) -> bool:
        return x is None
    return tree.map(lambda a, b: b if a is None else a, first, second, is_leaf=is_hole)


# ---- exchanging ------------------------------------------------------------------------------------------------------
def load_state_dict(model, arrays: Mapping[str, Any], *, strict: bool = True):
    """`model` with the parameters and buffers that `arrays` gives by name (NumPy arrays, or PyTorch tensors).

    Each is cast to the dtype of the one that it replaces. LaminaError: a shape differs, or where `strict` a name is
    missing or unknown; all of them are listed, and nothing is taken.
    """
    leaves, structure = tree.flatten(model)
    names = [leaf.name for leaf in named_leaves(model)]
    wrong = []
    if strict:
        wrong += [f"{name} is missing" for name in names if name not in arrays]
        known = set(names)
        wrong += [f"{name} is no part of the model" for name in arrays if name not in known]
    taken = []
    for name, old in zip(names, leaves):
        if name not in arrays:
            taken.append(old)
            continue
        new = as_array(arrays[name])
        if tuple(new.shape) != tuple(old.shape):
            wrong.append(f"{name} has shape {shape_text(new.shape)}, the model's {shape_text(old.shape)}")
        else:
            new = cast(new, _dtype(old))
            taken.append(np.array(new) if isinstance(new, np.ndarray) else new)  # the model's own, not a view of a file
    if wrong:
        raise LaminaError("these arrays are not this model's:\n  " + "\n  ".join(wrong),
                          hint="strict=False takes those whose names it finds" if strict else None)
    return tree.unflatten(structure, taken)


def save(model, path) -> None:
    """Write the parameters and buffers of `model` to the safetensors file `path`, whole or not at all."""
    from ...runtime.atomic import written_whole
    from ...runtime.tensors import write_tensors
    arrays = {name: as_array(value) for name, value in state_dict(model).items()}
    with written_whole(path) as file:
        write_tensors(file, arrays, aligned=False)


def load(model, path, *, strict: bool = True):
    """`model` with the parameters and buffers in the safetensors file `path`, under the rules of `load_state_dict`.

    FormatError: the file is cut short or damaged.
    """
    from ...runtime.tensors import read_tensors
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise LaminaError(f"can't read {path}: {error.strerror or error}") from error
    return load_state_dict(model, read_tensors(data, str(path)), strict=strict)
