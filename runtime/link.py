"""How do objects become a program or a library?  With the linker that is there: cc, ld, or the one of the ziglang package.

A C compiler knows where its C library lies. A bare linker is told, and gets an object with `_start`. A static library needs neither.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from .archive import write_archive
from .atomic import temporary_name
from .cpu_features import host_architecture
from .errors import LaminaError, UnsupportedError

KINDS = ("executable", "shared", "static", "object")
_BARE = ("ld", "ld.bfd", "ld.gold", "ld.lld", "lld", "mold")


@dataclass(frozen=True)
class Linker:
    """A linker: the words that call it, and whether it is a C compiler (which finds its C library) or bare."""

    name: str
    command: tuple[str, ...]
    is_compiler: bool


@dataclass(frozen=True)
class CLibrary:
    """A system's C library, as a bare linker needs it."""

    files: tuple[str, ...]
    loader: str


def link(objects: Sequence, output, kind: str, *, triple: str, exports: Sequence[str] = (), start=None, linker: str | None = None) -> Path:
    """Link the object files `objects` for the machine of `triple`; `output` appears whole or not at all.

    `kind`: "executable", "shared" (it exports `exports` alone, and stays loaded: the thread pool sleeps in its code), "static" or
    "object" (one relocatable object of all). `start` is the object with `_start` for bare linkers. `linker`: "cc", "ld", "ziglang", or
    a linker's or C compiler's name or path; None takes the first that is there and works. UnsupportedError: there is none;
    LaminaError: it failed, with what it says.
    """
    output, objects = Path(output), [Path(o) for o in objects]
    architecture = triple.split("-")[0]
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: it is one of {', '.join(KINDS)}")
    if "linux" not in triple:
        raise UnsupportedError(f"linking for {triple} is not supported", hint="Linux is, on x86_64 and aarch64")
    if not output.parent.is_dir():
        raise LaminaError(f"can't write {output}: there is no folder {output.parent}")
    if kind == "static":
        write_archive(output, objects)
        return output
    candidates = find_linkers(architecture, linker)
    failures = []
    for candidate in candidates:
        temporary = temporary_name(output)
        try:
            with tempfile.TemporaryDirectory(prefix="lamina-link-") as folder:
                command = _command(candidate, architecture, objects, temporary, output.name, kind, exports, start, Path(folder))
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
            if done.returncode == 0 and temporary.exists():
                os.replace(temporary, output)
                return output
            failures.append(f"{candidate.name} failed (exit status {done.returncode}):\n" + _tail(done.stderr or done.stdout))
        except (OSError, UnsupportedError) as error:
            failures.append(f"{candidate.name}: {error}")
        finally:
            temporary.unlink(missing_ok=True)
    raise LaminaError(f"{output.name} could not be linked.\n" + "\n".join(failures))


def find_linkers(architecture: str, wanted: str | None = None) -> list[Linker]:
    """The linkers for `architecture` that are there, the best first; with `wanted` that one alone. UnsupportedError: none."""
    native = architecture == host_architecture()
    compilers = ("cc", "gcc", "clang") if native else (f"{architecture}-linux-gnu-gcc",)
    bare = ("ld", "ld.lld") if native else (f"{architecture}-linux-gnu-ld", "ld.lld")
    names = {"cc": compilers, "ld": bare}.get(wanted, (wanted,)) if wanted else compilers + bare
    found = []
    for name in names:
        path = shutil.which(name) if name != "ziglang" else None
        if path is not None:
            found.append(Linker(name, (path,), not any(Path(name).name.endswith(b) for b in _BARE)))
    if wanted in (None, "ziglang") and has_ziglang():
        found.append(Linker("ziglang", (sys.executable, "-m", "ziglang"), False))
    if not found:
        looked = ", ".join(names if wanted else (*names, "the Python package ziglang"))
        raise UnsupportedError(f"no linker for {architecture} was found (looked for {looked})",
                               hint='install one: "apt install gcc" (or binutils), or "pip install ziglang" (lamina[ziglang]); '
                                    "a static library (.a) and an artifact (.lam) need none")
    return found


def has_ziglang() -> bool:
    """Whether the Python package `ziglang` is there: LLVM's linker, and C libraries for every machine."""
    return importlib.util.find_spec("ziglang") is not None


def _command(linker: Linker, architecture: str, objects: list[Path], temporary: Path, name: str, kind: str, exports: Sequence[str], start,
             folder: Path) -> list[str]:
    files = list(map(str, objects))
    options = ["-o", str(temporary)]
    if kind == "object":
        if linker.name == "ziglang":
            return [*linker.command, "ld.lld", "-r", *options, *files]
        return [*linker.command, "-r", *(("-nostdlib",) if linker.is_compiler else ()), *options, *files]
    flags = ["-z", "noexecstack", "-z", "relro", "-z", "now", "--gc-sections"]
    if kind == "shared":
        script = folder / "exports.map"
        script.write_text("{ global: " + " ".join(f"{e};" for e in exports) + " local: *; };\n", encoding="ascii")
        flags += ["-z", "nodelete", "-z", "defs", "-soname", name, f"--version-script={script}"]
    library = None if linker.is_compiler else find_c_library(architecture)
    if linker.name == "ziglang" and library is None:
        # Its own C library: programs are static (musl), libraries take the target's glibc.
        system = "linux-musl" if kind == "executable" else "linux-gnu"
        linker = Linker(linker.name, (*linker.command, "cc", "-target", f"{architecture}-{system}"), True)
    if linker.is_compiler:
        shared = ["-shared"] if kind == "shared" else []
        passed = [f"-Wl,{flag},{value}" if flag in ("-z", "-soname") else f"-Wl,{flag}" for flag, value in _pairs(flags)]
        return [*linker.command, *shared, *options, *files, *passed, "-lm", "-lpthread"]
    if library is None:
        raise UnsupportedError(f"the C library of {architecture} was not found, which a bare linker is told",
                               hint="install it (libc6, or libc6-arm64-cross for aarch64), or a C compiler")
    words = [*linker.command, *(("ld.lld",) if linker.name == "ziglang" else ()), *options, *flags, "--hash-style=gnu", "--as-needed"]
    if kind == "shared":
        return [*words, "-shared", *files, *library.files]
    if start is None:
        raise UnsupportedError("a bare linker makes no program without an object that has _start")
    return [*words, "-pie", "--dynamic-linker", library.loader, str(start), *files, *library.files]


def _pairs(flags: list[str]):
    """Flags with their values: those of -z and -soname are words of their own."""
    words = iter(flags)
    for word in words:
        yield word, next(words) if word in ("-z", "-soname") else ""


def find_c_library(architecture: str) -> CLibrary | None:
    """glibc's or musl's shared libraries for `architecture` on this machine."""
    folders = [f"/lib/{architecture}-linux-gnu", f"/usr/lib/{architecture}-linux-gnu", f"/usr/{architecture}-linux-gnu/lib"]
    if architecture == host_architecture():
        folders += ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
    glibc_loader = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}[architecture]
    for folder in map(Path, folders):
        if (folder / "libc.so.6").exists():
            beside = [folder / "libm.so.6", folder / "libpthread.so.0"]  # threads were apart before glibc 2.34
            return CLibrary((str(folder / "libc.so.6"), *(str(f) for f in beside if f.exists())), glibc_loader)
        musl = folder / f"ld-musl-{architecture}.so.1"
        if musl.exists():
            return CLibrary((str(musl),), str(musl))
    return None


def _tail(text: str, lines: int = 15) -> str:
    kept = text.strip().splitlines()
    return "\n".join("  " + line for line in ([f"({len(kept) - lines} lines before)"] if len(kept) > lines else []) + kept[-lines:])
