"""How does training survive an interruption?  One safetensors file, written whole or not at all, checked when read."""

from __future__ import annotations

import json
import mmap
import os
from typing import Any

import numpy as np

from ...compiler.core.errors import FormatError, LaminaError
from ...runtime.atomic import written_whole
from ...runtime.digest import chunk_digests, digest
from ...runtime.tensors import array_bytes, read_tensors, write_tensors
from .. import tree
from ..array.operands import as_array

PROGRESS, DIGEST = "checkpoint.progress", "checkpoint.sha256"  # tensors of bytes beside the state's


def save_checkpoint(path, state: Any, progress: dict | None = None) -> None:
    """Write a tree of arrays and `progress` (what JSON takes) to `path`: whole, or the file there stays as it was."""
    leaves, structure = tree.flatten(state)
    arrays = dict(zip(_names(structure), (np.asarray(as_array(x)) for x in leaves)))
    arrays[PROGRESS] = _as_bytes(json.dumps(progress or {}))
    arrays[DIGEST] = _as_bytes(_digest(arrays))
    with written_whole(path) as file:
        write_tensors(file, arrays)


def load_checkpoint(path, like: Any) -> tuple[Any, dict]:
    """(the tree of arrays, `progress`) in the file at `path`; the tree has the structure of `like`.

    Nothing is loaded where something is wrong: FormatError for a file that is damaged or cut short, LaminaError for one
    of another model or optimizer, which lists what differs.
    """
    try:
        with open(path, "rb") as file:
            has_bytes = os.fstat(file.fileno()).st_size > 0
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if has_bytes else b""
    except OSError as error:
        raise LaminaError(f"the checkpoint {path} can't be read: {error.strerror or error}") from error
    arrays = {name: x for name, x in read_tensors(content, f"the checkpoint {path}").items()
              if not name.startswith("padding.")}
    expected_digest = arrays.pop(DIGEST, None)
    if PROGRESS not in arrays or expected_digest is None:
        raise FormatError(f"{path} is no checkpoint", hint="save_checkpoint writes them; nn.load reads parameters")
    if expected_digest.tobytes() != _digest(arrays).encode():
        raise FormatError(f"the checkpoint {path} is damaged: its bytes are not those that were written")
    progress = json.loads(arrays.pop(PROGRESS).tobytes())
    leaves, structure = tree.flatten(like)
    expected = dict(zip(_names(structure), map(as_array, leaves)))
    wrong = _differences(arrays, expected)
    if wrong:
        raise LaminaError(f"the checkpoint {path} is that of another model or optimizer:\n  " + "\n  ".join(wrong),
                          hint="nothing was loaded")
    return tree.unflatten(structure, [np.array(arrays[name]) for name in expected]), progress


def _names(structure: tree.Structure) -> list[str]:
    return [tree.dotted(path).removeprefix(".") or "value" for path in tree.paths(structure)]


def _differences(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    wrong += [f"{name} is {_type(found[name])}, {_type(x)} was expected" for name, x in expected.items()
              if name in found and (found[name].shape != x.shape or found[name].dtype != x.dtype)]
    return wrong if len(wrong) <= 10 else [*wrong[:10], f"... and {len(wrong) - 10} more"]


def _type(x: np.ndarray) -> str:
    return f"{x.dtype.name}{list(x.shape)}"


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """The digest of names, types and elements."""
    parts = [f"{name} {_type(x)} {' '.join(chunk_digests(array_bytes(x)))}" for name, x in sorted(arrays.items())]
    return digest("\n".join(parts).encode())
