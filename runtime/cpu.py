"""Which code is in this process?  That of the models that are loaded, and one runtime object with the thread pool for all of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Mapping, Sequence

from . import loader
from .cpu_features import host_architecture
from .errors import FormatError
from .threads import add_pool

_lock = threading.Lock()
_support: dict[str, Library] = {}


@dataclass
class Library:
    """Linked object code: the addresses of its `symbols`, mapped as long as `memory` lives."""

    memory: object
    symbols: dict[str, int]


def load_objects(objects: list[bytes], support: bytes, support_key: str, exports: tuple[str, ...], support_exports: tuple[str, ...]) -> Library:
    """Link `objects` into this process and find `exports`. `support` is linked once for each `support_key`."""
    with _lock:
        runtime = _support.get(support_key)
        if runtime is None:
            runtime = _support[support_key] = _link([support], {}, support_exports)
            add_pool(runtime.symbols)
        return _link(objects, runtime.symbols, exports)


def support_function(name: str) -> int | None:
    """The address of a function of the runtime object, once a model is loaded."""
    for runtime in _support.values():
        return runtime.symbols[name]
    return None


def _link(objects: Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]) -> Library:
    if host_architecture() not in loader.ARCHITECTURES:
        from .jit_linker import link
        return Library(*link(objects, imports, exports))
    memory, symbols = loader.load(objects, imports)
    missing = [name for name in exports if name not in symbols]
    if missing:
        raise FormatError(f"the code lacks {', '.join(missing)}", hint="compile the model again")
    return Library(memory, {name: symbols[name] for name in exports})
