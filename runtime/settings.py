"""What does the environment say?  The one place of the runtime that reads it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import LaminaError

CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class Settings:
    """`cache` says whether compiled code is kept between processes, in `cache_folder`, up to `cache_bytes`."""

    cache: bool
    cache_folder: Path
    cache_bytes: int


def read_settings() -> Settings:
    """LAMINA_CACHE ("off" or "on"), LAMINA_CACHE_DIR, LAMINA_CACHE_BYTES (a number, or one with K, M or G).

    LAMINA_NUM_THREADS is read by the thread pool, which is native code, too.
    """
    switch = os.environ.get("LAMINA_CACHE", "on").strip().lower()
    if switch not in ("on", "off", "1", "0", ""):
        raise LaminaError(f"LAMINA_CACHE is {switch!r}", hint='set it to "on" or "off"')
    folder = os.environ.get("LAMINA_CACHE_DIR")
    if not folder:
        from platformdirs import user_cache_dir
        folder = user_cache_dir("lamina", appauthor=False)
    return Settings(switch not in ("off", "0"), Path(folder).expanduser(), _bytes(os.environ.get("LAMINA_CACHE_BYTES")))


def num_threads_setting() -> int | None:
    """LAMINA_NUM_THREADS; None where it is not set or no number of threads."""
    text = os.environ.get("LAMINA_NUM_THREADS", "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def linker_settings() -> str | None:
    """LAMINA_LINKER: the linker to use, as `runtime.link.link` takes it; None to look for one."""
    return os.environ.get("LAMINA_LINKER") or None


def _bytes(text: str | None) -> int:
    if not text:
        return CACHE_BYTES
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise LaminaError(f"LAMINA_CACHE_BYTES is {text!r}", hint="give bytes, or a number with K, M or G, such as 512M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]
