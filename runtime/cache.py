"""What need not be compiled again?  A folder of entries by key, shared by all processes of a user, safe without locks.

    objects/ab/KEY           object code, by the hash of the text that it was compiled from
    artifacts/ab/KEY.lam     whole artifacts, by the hash of what they were made from

An entry is written under a temporary name and renamed, so it is there whole or not at all, also when its writer is killed. Its hash
is checked whenever it is read; a damaged entry is removed and counts as missing. Entries used longest ago go first when the folder
outgrows its limit. A folder that can't be written (read-only, full) costs one warning; compiling goes on without.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from .artifact import FORMAT_VERSION, Artifact
from .atomic import TEMPORARY, written_whole
from .errors import LaminaError
from .package import ALIGNMENT, Origin, load_artifact, save_artifact
from .settings import read_settings
from .version import VERSION

_MAGIC = b"lamina.1"  # an entry: this, SHA-256 of the rest, the rest
_HEADER = len(_MAGIC) + 32
_KEY = re.compile(r"[0-9a-f]{16,128}")
_ABANDONED = 3600  # seconds after which a temporary file has lost its writer
_KEPT = 0.9        # of the limit stay when entries are evicted, so that the next one does not evict again
_RESCAN = 64 << 20  # bytes written by this process after which it looks what others wrote


@dataclass(frozen=True)
class Entry:
    """One file of the cache. `kind` is "object" or "artifact", `used` when it was last read or written (seconds since 1970)."""

    key: str
    kind: str
    bytes: int
    used: float
    path: Path


class DiskCache:
    """A cache in `folder` that takes up to `limit` bytes. Its methods never raise for what the file system does."""

    def __init__(self, folder, limit: int):
        self.folder = Path(folder)
        self.limit = limit
        self._is_writable = True
        self._lock = threading.Lock()
        self._estimate: int | None = None  # bytes in the folder; None before the first look
        self._written = 0

    # ---- object code ----------------------------------------------------------------------------------------------------
    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        path = self._path("object", key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[_HEADER:]
        if data[:len(_MAGIC)] != _MAGIC or data[len(_MAGIC):_HEADER] != sha256(body).digest():
            _remove(path)
            return None
        _touch(path)
        return body

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        path = self._path("object", key)

        def write() -> None:
            with written_whole(path, durable=False) as file:
                file.write(_MAGIC + sha256(data).digest())
                file.write(data)
        self._add(path, len(data) + _HEADER, write)

    # ---- whole artifacts --------------------------------------------------------------------------------------------------
    def get_artifact(self, key: str, sources: Sequence = ()) -> Artifact | None:
        """The artifact that was put under `key`, or None. `sources` are the files that were given to `put_artifact`, unchanged
        since (their contents belong into the key). Constants are mapped, not read into memory."""
        path = self._path("artifact", key)
        try:
            if not path.exists():
                return None
            artifact = load_artifact(path, sources=sources, runnable=False)
        except LaminaError:
            _remove(path)
            return None
        except OSError:
            return None
        _touch(path)
        return artifact

    def put_artifact(self, key: str, artifact: Artifact, sources: Sequence = ()) -> None:
        """Keep `artifact` under `key`. Constants that are mapped from one of the files `sources`, as a kernel reads them, stay there;
        the others (packed, folded) are stored with it."""
        path = self._path("artifact", key)
        origins = find_origins(artifact.constants, sources)
        size = sum(map(len, artifact.objects.values())) + sum(c.nbytes for i, c in enumerate(artifact.constants) if i not in origins)
        self._add(path, size, lambda: save_artifact(artifact, path, origins=origins, durable=False))

    # ---- looking and clearing ---------------------------------------------------------------------------------------------
    def entries(self) -> list[Entry]:
        """Every entry, the one used last first."""
        found = []
        for kind, path, status in self._files():
            if not path.name.endswith(TEMPORARY):
                found.append(Entry(path.stem, kind, status.st_size, status.st_mtime, path))
        return sorted(found, key=lambda entry: (-entry.used, entry.key))

    def size(self) -> int:
        """The bytes of all entries."""
        return sum(entry.bytes for entry in self.entries())

    def clear(self) -> int:
        """Remove everything; the number of bytes that it took."""
        return sum(status.st_size for _, path, status in self._files() if _remove(path))

    def gc(self, limit: int | None = None) -> int:
        """Remove entries used longest ago until at most `limit` bytes (the cache's own) stay, and what killed writers left.

        Returns the number of bytes removed.
        """
        limit = self.limit if limit is None else limit
        removed, now = 0, time.time()
        for _, path, status in self._files():
            if path.name.endswith(TEMPORARY) and now - status.st_mtime > _ABANDONED and _remove(path):
                removed += status.st_size
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        while entries and total > limit:
            entry = entries.pop()
            total -= entry.bytes
            removed += entry.bytes if _remove(entry.path) else 0
        self._estimate = total
        return removed

    def __repr__(self) -> str:
        return f"<DiskCache {self.folder}: up to {self.limit:,} bytes>"

    # ---- inside -----------------------------------------------------------------------------------------------------------
    def _path(self, kind: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of the cache: 16 to 128 hexadecimal digits")
        return self.folder / (kind + "s") / key[:2] / (key + (".lam" if kind == "artifact" else ""))

    def _files(self) -> Iterator[tuple[str, Path, os.stat_result]]:
        for kind in ("object", "artifact"):
            for folder in _scan(self.folder / (kind + "s")):
                for file in _scan(Path(folder)):
                    try:
                        yield kind, Path(file), file.stat(follow_symlinks=False)
                    except OSError:
                        continue  # another process was faster

    def _add(self, path: Path, size: int, write) -> None:
        if not self._is_writable or size > self.limit:
            return
        try:
            self._make_room(size)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            write()
            self._estimate += size
            self._written += size
        except (OSError, LaminaError) as error:
            with self._lock:
                is_first, self._is_writable = self._is_writable, False
            if not is_first:
                return
            reason = getattr(error, "strerror", None) or error
            warnings.warn(f"the compile cache can't be written ({self.folder}: {reason}); what is compiled now will be compiled again by "
                          "the next process. Set LAMINA_CACHE_DIR to another folder, or LAMINA_CACHE=off", RuntimeWarning, stacklevel=4)

    def _make_room(self, size: int) -> None:
        if self._estimate is None or self._written > _RESCAN:
            self._estimate, self._written = self.size(), 0
        if self._estimate + size > self.limit:
            self.gc(int(max(0, min(self.limit - size, _KEPT * self.limit))))


def find_origins(constants: Sequence[np.ndarray], sources: Sequence) -> dict[int, Origin]:
    """Which constants are mapped from one of the files `sources`, aligned as kernels read them: (file, offset) by their numbers."""
    numbers = {os.path.realpath(source): n for n, source in enumerate(sources)}
    origins = {}
    for i, array in enumerate(constants):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        if not isinstance(base, np.memmap) or base.filename is None or not array.flags.c_contiguous or not array.nbytes:
            continue
        number = numbers.get(os.path.realpath(base.filename))
        offset = array.ctypes.data - base.ctypes.data + base.offset
        if number is not None and offset % ALIGNMENT == 0:
            origins[i] = (number, offset)
    return origins


def artifact_key(*parts: str) -> str:
    """The key of an artifact made from what `parts` say: its graph or file by content, dims, options, target.

    The versions of lamina, its source files and LLVM belong to every key.
    """
    import llvmlite
    text = "\0".join((VERSION, str(FORMAT_VERSION), llvmlite.__version__, _source_state(), *parts))
    return sha256(text.encode()).hexdigest()


@lru_cache
def _source_state() -> str:
    """What changes when a source file of lamina does: names, sizes and times of all."""
    root = Path(__file__).parent.parent
    rows = []
    for room in ("compiler", "frontends", "runtime"):
        for folder, _, files in os.walk(root / room):
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    status = os.stat(path)
                    rows.append(f"{os.path.relpath(path, root)}:{status.st_size}:{status.st_mtime_ns}")
    return sha256("\n".join(sorted(rows)).encode()).hexdigest()


def default_cache() -> DiskCache | None:
    """The cache of this user (see `runtime.settings`); None where LAMINA_CACHE is off."""
    settings = read_settings()
    return _cache_at(settings.cache_folder, settings.cache_bytes) if settings.cache else None


@lru_cache
def _cache_at(folder: Path, limit: int) -> DiskCache:
    return DiskCache(folder, limit)


def _scan(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _remove(path) -> bool:
    try:
        os.unlink(path)
        return True
    except OSError:
        return False


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        pass  # a read-only folder: it keeps the order of writing
