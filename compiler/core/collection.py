"""When does Python not look for garbage?  While a graph is made or compiled: nearly all that is made then stays until the end.

A collection walks every object that is alive, and a graph of thousands of nodes sets off dozens of them.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def collection_paused() -> Iterator[None]:
    """Without cyclic garbage collection inside; where it was switched off already, it stays so."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
