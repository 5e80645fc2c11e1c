"""Are these the bytes that were written?  SHA-256 of small data at once, of large data in chunks on several threads.

CPUs have instructions for SHA-256 (x86 since 2017-2019, Arm since 2013), with which it is twice as fast as BLAKE2b.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

CHUNK = 8 << 20  # bytes: small enough to spread over threads, large enough that their switching costs nothing


def digest(data) -> str:
    """64 hexadecimal digits."""
    return sha256(data).hexdigest()


def chunk_digests(data, chunk: int = CHUNK) -> list[str]:
    """The digest of every `chunk` bytes of a buffer."""
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    return _on_threads(digest, [view[at:at + chunk] for at in range(0, len(view), chunk)])


def file_digest(path) -> str:
    """The digest of a file's size and chunks; reads all of it."""
    size = os.stat(path).st_size
    return digest(f"{size}:{':'.join(file_chunk_digests(path, 0, size))}".encode())


def file_chunk_digests(path, begin: int, size: int, chunk: int = CHUNK) -> list[str]:
    """The digest of every `chunk` of the `size` bytes of a file from `begin` on. They are read, not mapped: what is only checked
    takes no memory afterwards."""
    with open(path, "rb", buffering=0) as file:
        def work(at: int) -> str:
            return digest(os.pread(file.fileno(), min(chunk, size - at), begin + at))
        return _on_threads(work, range(0, size, chunk))


def _on_threads(work, items) -> list:
    threads = min(8, len(items), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if threads <= 1:
        return [work(item) for item in items]
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="lamina-digest") as pool:  # hashlib lets go of Python's lock
            return list(pool.map(work, items))
    except RuntimeError:  # the interpreter is ending, and starts no threads any more
        return [work(item) for item in items]
