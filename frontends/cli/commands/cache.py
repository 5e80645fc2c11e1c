"""lamina cache: what is kept of earlier compilations?"""

from __future__ import annotations

from ..parser import OK, byte_count

SUMMARY = "the compile cache: where it is, what is in it; clear it"
EXAMPLES = """
lamina cache dir
lamina cache ls                  entries, the one used last first
lamina cache size
lamina cache gc --limit 500MiB   remove what was used longest ago
lamina cache clear
"""
ACTIONS = ("ls", "size", "clear", "gc", "dir")


def configure(parser) -> None:
    """The arguments of the command."""
    parser.add_argument("action", choices=ACTIONS, help="ls: list, size: total, clear: remove all, gc: shrink to the limit, dir: its folder")
    parser.add_argument("--limit", type=byte_count, metavar="BYTES", help="for gc: bytes that may stay (default: the cache's limit)")


def run(arguments, console) -> int:
    """Do it to the cache of this user (LAMINA_CACHE_DIR, LAMINA_CACHE_BYTES, LAMINA_CACHE=off)."""
    from ....compiler.core.errors import LaminaError
    from ....runtime.cache import default_cache
    from ..console import format_bytes
    cache = default_cache()
    if cache is None:
        raise LaminaError("the compile cache is off", hint="unset LAMINA_CACHE, or set it to on")
    action = arguments.action
    if action == "dir":
        data, text = {"folder": str(cache.folder)}, str(cache.folder)
    elif action == "size":
        entries = cache.entries()
        size = sum(e.bytes for e in entries)
        data = {"bytes": size, "limit": cache.limit, "entries": len(entries)}
        text = f"{size} bytes ({format_bytes(size)} of {format_bytes(cache.limit)}) in {len(entries)} entries"
    elif action == "ls":
        return list_entries(cache, console)
    else:
        removed = cache.clear() if action == "clear" else cache.gc(arguments.limit)
        data, text = {"removed_bytes": removed}, f"removed {removed} bytes ({format_bytes(removed)})"
    if console.json:
        console.result("cache", {"action": action, **data})
    else:
        console.print(text)
    return OK


def list_entries(cache, console) -> int:
    """One line for each entry."""
    import time
    entries = cache.entries()
    if console.json:
        console.result("cache", {"action": "ls", "folder": str(cache.folder),
                                 "entries": [{"key": e.key, "kind": e.kind, "bytes": e.bytes, "used": e.used} for e in entries]})
    elif entries:
        console.table(("used", "kind", "bytes", "key"), [(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(e.used)), e.kind, e.bytes, e.key)
                                                         for e in entries])
    return OK
