"""How does training change a model that can't change?  What layers record while `nn.apply` runs makes another model."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Iterator

from ..array.operands import Array
from ..array.tracer import Trace, current_trace, trace_error


@dataclass
class Recording:
    """What one application of a model in training leaves: the buffers that changed, by the identity of their module.

    `trace` is the trace in which it began: what is recorded in one inside of it would outlive that.
    """

    trace: Trace | None
    key: Array | None
    draws: int = 0
    updates: dict[int, dict[str, Array]] = field(default_factory=dict)

    def next_key(self, who: str) -> Array:
        """The next of the keys that are derived from the application's key."""
        if self.key is None:
            raise trace_error(f"{who} in training draws random numbers, and there is no key",
                              hint="nn.apply(model, ..., key=key)")
        from ..random import fold_in
        self.draws += 1
        return fold_in(self.key, self.draws - 1)


class _Live(threading.local):
    def __init__(self):
        self.recordings: list[Recording] = []


_live = _Live()


@contextmanager
def recording(key: Array | None) -> Iterator[Recording]:
    """Take what modules record inside the block."""
    made = Recording(current_trace(), key)
    _live.recordings.append(made)
    try:
        yield made
    finally:
        _live.recordings.remove(made)


def recording_of(what: str) -> Recording:
    """The innermost recording; a TraceError that begins with `what` where there is none, or where it is of another
    trace."""
    if not _live.recordings:
        raise trace_error(f"{what}, which is returned by nn.apply alone",
                          hint="result, model = nn.apply(model, x, key=key)")
    innermost = _live.recordings[-1]
    if innermost.trace is not current_trace():
        raise trace_error(f"{what} inside {current_trace().purpose}, from where nothing gets out but results"
                          if current_trace() is not None else f"{what} outside of the trace of its nn.apply",
                          hint="call nn.apply inside of it and return the model's buffers (nn.partition), or give "
                               "random layers a key of their own: dropout(x, key=key)")
    return innermost
