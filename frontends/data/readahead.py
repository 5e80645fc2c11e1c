"""How is the next batch made while this one is worked on?  On a thread that ends with whoever takes the batches."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Iterable, Iterator

_END = object()


class _Buffer:
    """Items on their way from one thread to another, at most `size` of them. Either side may end it."""

    def __init__(self, size: int):
        self.size = size
        self.items: deque[Any] = deque()
        self.changed = threading.Condition()
        self.is_stopped = False
        self.error: BaseException | None = None

    def put(self, item) -> bool:
        """Wait for room and add `item`; False where nobody wants it any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_stopped or len(self.items) < self.size)
            if not self.is_stopped:
                self.items.append(item)
                self.changed.notify_all()
            return not self.is_stopped

    def get(self):
        """Wait for the next item."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self.items))
            item = self.items.popleft()
            self.changed.notify_all()
            return item

    def stop(self) -> None:
        """Take nothing more."""
        with self.changed:
            self.is_stopped = True
            self.items.clear()
            self.changed.notify_all()


def prefetch(items: Iterable, size: int = 2) -> Iterator:
    """The same items; up to `size` of them are made ahead, on a thread. 0 makes none ahead, and starts no thread.

    What making an item raises is raised where that item would have come. The thread ends when the items do, and when
    the iterator is closed, dropped or left by an exception: a break, Ctrl-C.
    """
    if size < 1:
        yield from items
        return
    buffer = _Buffer(size)
    thread = threading.Thread(target=_fill, args=(iter(items), buffer), name="lamina-prefetch", daemon=True)
    thread.start()
    try:
        while (item := buffer.get()) is not _END:
            yield item
        if buffer.error is not None:
            raise buffer.error
    finally:
        buffer.stop()
        thread.join()


def _fill(items: Iterator, buffer: _Buffer) -> None:
    try:
        for item in items:
            if not buffer.put(item):
                break
    except BaseException as error:  # raised again where the item is waited for
        buffer.error = error
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    buffer.put(_END)
