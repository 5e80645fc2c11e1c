"""Which graphs are the same model?  A digest of structure and constants, for caches."""

from __future__ import annotations

from hashlib import blake2b

from .graph import Graph
from .text import print_graph


def digest(graph: Graph, contents: bool = True) -> str:
    """32 hexadecimal digits that are equal for graphs whose text is, but for locations.

    `contents=False` takes constants by dtype and shape alone: the key of code that reads its weights as data.
    """
    return blake2b(print_graph(graph, locations=False, contents=contents).encode(), digest_size=16).hexdigest()
