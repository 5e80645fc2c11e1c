"""What differs between the machines and systems that the support code runs on?  One table row each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Template

from ...core.errors import UnsupportedError


@dataclass(frozen=True)
class Platform:
    """An architecture under Linux: how it pauses and keeps its rounding state, its numbers of system calls.

    `pause`, `save_float_control` (leaves an i64 in %control) and `load_float_control` (takes it) are lines of LLVM IR,
    `declares` the intrinsics that they call.
    """

    architecture: str
    pause: str
    save_float_control: str
    load_float_control: str
    declares: tuple[str, ...]
    futex: int
    newfstatat: int
    stat_mode_offset: int  # bytes from the start of the kernel's struct stat to st_mode
    entry_stack: str  # the intrinsic for the stack pointer at a function's entry
    exit_argument: int  # the argument register in which a process starts with a function to run at its exit


# Intel's `pause` waits 40 to 140 cycles. Arm's `yield` hint is a no-op on most cores, so a spin loop waits with `isb`.
X86_64 = Platform(
    architecture="x86_64",
    pause="call void @llvm.x86.sse2.pause()",
    save_float_control="""\
  %mxcsr.at = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %mxcsr.at)
  %mxcsr = load i32, ptr %mxcsr.at
  %modes = and i32 %mxcsr, 65472                ; the modes without the sticky exception flags
  %control = zext i32 %modes to i64""",
    load_float_control="""\
  %mxcsr.at = alloca i32, align 4
  %mxcsr = trunc i64 %control to i32
  store i32 %mxcsr, ptr %mxcsr.at
  call void @llvm.x86.sse.ldmxcsr(ptr %mxcsr.at)""",
    declares=("declare void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse.stmxcsr(ptr)",
              "declare void @llvm.x86.sse.ldmxcsr(ptr)", "declare ptr @llvm.addressofreturnaddress.p0()"),
    futex=202, newfstatat=262, stat_mode_offset=24, entry_stack="llvm.addressofreturnaddress.p0", exit_argument=2)

AARCH64 = Platform(
    architecture="aarch64",
    pause="call void @llvm.aarch64.isb(i32 15)",
    save_float_control="  %control = call i64 @llvm.aarch64.get.fpcr()",
    load_float_control="  call void @llvm.aarch64.set.fpcr(i64 %control)",
    declares=("declare void @llvm.aarch64.isb(i32)", "declare i64 @llvm.aarch64.get.fpcr()",
              "declare void @llvm.aarch64.set.fpcr(i64)", "declare ptr @llvm.sponentry.p0()"),
    futex=98, newfstatat=79, stat_mode_offset=16, entry_stack="llvm.sponentry.p0", exit_argument=0)

_ARCHITECTURES = {"x86_64": X86_64, "amd64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}


def platform(target_triple: str, os: str = "linux") -> Platform:
    """The row for an LLVM target triple such as "x86_64-unknown-linux-gnu"; UnsupportedError if there is none."""
    architecture = target_triple.split("-")[0]
    if os != "linux" or "linux" not in target_triple:
        raise UnsupportedError(f"no native support code for the system of {target_triple!r} (os={os!r})",
                               hint="Linux is supported: x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu")
    if architecture not in _ARCHITECTURES:
        raise UnsupportedError(f"no native support code for the architecture {architecture!r} of {target_triple!r}",
                               hint="x86_64 and aarch64 are supported")
    return _ARCHITECTURES[architecture]


# The C library's functions that support code calls. All have one signature on glibc and musl, on both architectures.
_LIBC = """
i32 @__libc_start_main(ptr, i32, ptr, ptr, ptr, ptr, ptr)
ptr @__errno_location()
i32 @clock_gettime(i32, ptr)
i32 @close(i32)
i32 @dprintf(i32, ptr, ...)
i32 @fchmod(i32, i32)
void @free(ptr)
i32 @fsync(i32)
ptr @getenv(ptr)
i32 @getpid()
ptr @malloc(i64)
ptr @memchr(ptr, i32, i64)
i32 @memcmp(ptr, ptr, i64)
i32 @open(ptr, i32, ...)
i32 @prctl(i32, ...)
i32 @posix_memalign(ptr, i64, i64)
i32 @pthread_attr_destroy(ptr)
i32 @pthread_attr_init(ptr)
i32 @pthread_attr_setdetachstate(ptr, i32)
i32 @pthread_attr_setstacksize(ptr, i64)
i32 @pthread_create(ptr, ptr, ptr, ptr)
i32 @pthread_sigmask(i32, ptr, ptr)
i64 @read(i32, ptr, i64)
ptr @realpath(ptr, ptr)
i32 @rename(ptr, ptr)
i32 @sched_getaffinity(i32, i64, ptr)
i32 @sched_yield()
i32 @sigdelset(ptr, i32)
i32 @sigfillset(ptr)
i32 @snprintf(ptr, i64, ptr, ...)
i32 @strcmp(ptr, ptr)
ptr @strchr(ptr, i32)
ptr @strerror(i32)
i64 @strlen(ptr)
i32 @strncmp(ptr, ptr, i64)
ptr @strstr(ptr, ptr)
i64 @strtol(ptr, ptr, i32)
i64 @syscall(i64, ...)
i64 @sysconf(i32)
i32 @unlink(ptr)
i64 @write(i32, ptr, i64)
"""
_INTRINSICS = """
i64 @llvm.ctpop.i64(i64)
i32 @llvm.smax.i32(i32, i32)
i32 @llvm.smin.i32(i32, i32)
i64 @llvm.smin.i64(i64, i64)
i64 @llvm.smax.i64(i64, i64)
void @llvm.memset.p0.i64(ptr, i8, i64, i1)
i64 @llvm.umin.i64(i64, i64)
{i64, i1} @llvm.smul.with.overflow.i64(i64, i64)
{i64, i1} @llvm.sadd.with.overflow.i64(i64, i64)
void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
C_FUNCTIONS = frozenset(re.findall(r"@(\w+)\(", _LIBC))
_DECLARATIONS = {re.search(r"@([\w.]+)\(", line).group(1): "declare " + line
                 for line in (_LIBC + _INTRINSICS).split("\n") if line}


def expand(text: str, row: Platform, **values) -> str:
    """`text` with its $names replaced: by `values`, or by the entries of the platform's row."""
    return Template(text).substitute(vars(row), **values)


def declarations(text: str, row: Platform) -> str:
    """A `declare` for everything that `text` calls and does not define itself, each once."""
    defined = set(re.findall(r"^(?:define|declare)\b[^@\n]*@([\w.]+)\(", text, re.MULTILINE))
    known = _DECLARATIONS | {re.search(r"@([\w.]+)\(", line).group(1): line for line in row.declares}
    called = set(re.findall(r"@([\w.]+)", text))
    return "".join(known[name] + "\n" for name in sorted(known) if name in called and name not in defined)
