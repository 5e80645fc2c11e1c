"""How many threads may this process use?  LAMINA_NUM_THREADS, else affinity and the cgroup's quota, as LLVM IR.

    int32_t lamina_max_threads(void);          // at least 1, at most MAX_THREADS; found out once
    void    lamina_set_max_threads(int32_t n);
    int32_t lamina_quota_threads(const char *root);
"""

from __future__ import annotations

from .platforms import Platform, expand
from .pool import MAX_THREADS
from .writer import Slot, Writer


def limit_ir(row: Platform) -> str:
    """The exported functions and what they ask the system."""
    fixed = (expand(text, row, max_threads=MAX_THREADS) for text in (_LIMIT, _ENVIRONMENT, _AFFINITY))
    return "\n".join([*fixed, _quota_ir()])


_LIMIT = """
@lamina.limit = internal global i32 0, align 4    ; 0: not found out yet
@lamina.root = internal constant [1 x i8] zeroinitializer

; The limit: what was set, else what is found now and kept.
define weak i32 @lamina_max_threads() nounwind {
entry:
  %known = load atomic i32, ptr @lamina.limit monotonic, align 4
  %is.known = icmp ne i32 %known, 0
  br i1 %is.known, label %out, label %ask

ask:
  %wish = call i32 @lamina.environment_threads()
  %is.wish = icmp ne i32 %wish, 0
  br i1 %is.wish, label %found, label %measure

measure:
  %processors = call i32 @lamina.affinity_threads()
  %quota = call i32 @lamina_quota_threads(ptr @lamina.root)
  %least = call i32 @llvm.smin.i32(i32 %processors, i32 %quota)
  br label %found

found:
  %raw = phi i32 [ %wish, %ask ], [ %least, %measure ]
  %positive = call i32 @llvm.smax.i32(i32 %raw, i32 1)
  %new = call i32 @llvm.smin.i32(i32 %positive, i32 $max_threads)
  %swap = cmpxchg ptr @lamina.limit, i32 0, i32 %new monotonic monotonic
  %other = extractvalue { i32, i1 } %swap, 0
  %won = extractvalue { i32, i1 } %swap, 1
  %final = select i1 %won, i32 %new, i32 %other
  br label %out

out:
  %limit = phi i32 [ %known, %entry ], [ %final, %found ]
  ret i32 %limit
}

; Set the limit, between 1 and $max_threads. It holds from the next lamina_begin on.
define weak void @lamina_set_max_threads(i32 %n) nounwind {
  %positive = call i32 @llvm.smax.i32(i32 %n, i32 1)
  %limit = call i32 @llvm.smin.i32(i32 %positive, i32 $max_threads)
  store atomic i32 %limit, ptr @lamina.limit monotonic, align 4
  ret void
}
"""

_ENVIRONMENT = """
@lamina.variable = internal constant [19 x i8] c"LAMINA_NUM_THREADS\\00"

; LAMINA_NUM_THREADS if it is a whole number from 1 on, else 0.
define internal i32 @lamina.environment_threads() nounwind {
entry:
  %end = alloca ptr, align 8
  %text = call ptr @getenv(ptr @lamina.variable)
  %is.set = icmp ne ptr %text, null
  br i1 %is.set, label %parse, label %none

parse:
  %number = call i64 @strtol(ptr %text, ptr %end, i32 10)
  %after = load ptr, ptr %end, align 8
  %character = load i8, ptr %after, align 1
  %is.whole = icmp eq i8 %character, 0
  %is.positive = icmp sgt i64 %number, 0
  %is.valid = and i1 %is.whole, %is.positive
  br i1 %is.valid, label %valid, label %none

valid:
  %bounded = call i64 @llvm.smin.i64(i64 %number, i64 $max_threads)
  %threads = trunc i64 %bounded to i32
  ret i32 %threads

none:
  ret i32 0
}
"""

_AFFINITY = """
; The processors that the calling thread may run on; where the kernel does not say, those online.
define internal i32 @lamina.affinity_threads() nounwind {
entry:
  %mask = alloca [128 x i64], align 8                             ; 8192 processors
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 1024, i1 false)
  %status = call i32 @sched_getaffinity(i32 0, i64 1024, ptr %mask)
  %is.ok = icmp eq i32 %status, 0
  br i1 %is.ok, label %loop, label %online

loop:
  %index = phi i64 [ 0, %entry ], [ %index.next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %sum.next, %loop ]
  %at = getelementptr i64, ptr %mask, i64 %index
  %bits = load i64, ptr %at, align 8
  %count = call i64 @llvm.ctpop.i64(i64 %bits)
  %sum.next = add i64 %sum, %count
  %index.next = add i64 %index, 1
  %more = icmp ult i64 %index.next, 128
  br i1 %more, label %loop, label %out

online:
  %processors = call i64 @sysconf(i32 84)                         ; _SC_NPROCESSORS_ONLN
  br label %out

out:
  %total = phi i64 [ %sum.next, %loop ], [ %processors, %online ]
  %threads = trunc i64 %total to i32
  ret i32 %threads
}
"""

# /proc/self/cgroup has a line "0::/path" for the unified hierarchy (v2) and "4:cpu,cpuacct:/path" for the controllers
# of v1. Every group from the process's own up to the root may have a quota. In a container the path can be one of the
# host, which does not exist inside; the walk then ends at the root, which is the container's own group.
def _quota_ir() -> str:
    writer = Writer()

    f = writer.function("internal i64 @lamina.read_text(ptr %name, ptr %to, i64 %size)",
                        "Read the beginning of a file as a string of up to size-1 characters; returns its length.")
    descriptor = f.let("call i32 (ptr, i32, ...) @open(ptr %name, i32 524288)  ; O_RDONLY | O_CLOEXEC")
    length = f.variable("i64", 0)
    with f.when(f"sge i32 {descriptor}, 0"):
        most = f.let("sub i64 %size, 1")
        count = f.let(f"call i64 @read(i32 {descriptor}, ptr %to, i64 {most})")
        length.set(f.let(f"call i64 @llvm.smax.i64(i64 {count}, i64 0)"))
        f.do(f"call i32 @close(i32 {descriptor})")
    end = length.get()
    f.do(f"store i8 0, ptr {f.element('i8', '%to', end)}")
    f.ret(f"i64 {end}")

    f = writer.function("internal i64 @lamina.read_number(ptr %root, ptr %hierarchy, ptr %path, i32 %length, "
                        "ptr %file, ptr %second)",
                        "The number that a file of a control group begins with, 0 if none; the next goes to %second.")
    name, text, after = f.variable("[4096 x i8]"), f.variable("[128 x i8]"), f.variable("ptr")
    f.format(name.at, 4096, "%s/sys/fs/cgroup%s%.*s/%s", "ptr %root", "ptr %hierarchy", "i32 %length", "ptr %path",
             "ptr %file")
    f.do(f"call i64 @lamina.read_text(ptr {name.at}, ptr {text.at}, i64 128)")
    first = f.let(f"call i64 @strtol(ptr {text.at}, ptr {after.at}, i32 10)")
    f.do(f"store i64 {f.let(f'call i64 @strtol(ptr {after.get()}, ptr null, i32 10)')}, ptr %second")
    f.ret(f"i64 {first}")

    f = writer.function("internal void @lamina.walk_groups(ptr %root, ptr %hierarchy, ptr %path, i32 %version, "
                        "ptr %limit)",
                        "Lower limit (i64) to the quota of a control group or of one above it.")
    quota, period, unused = f.variable("i64"), f.variable("i64"), f.variable("i64")
    length = f.variable("i64", f.let("call i64 @strlen(ptr %path)"))
    with f.loop():
        here = f"ptr %root, ptr %hierarchy, ptr %path, i32 {f.let(f'trunc i64 {length.get()} to i32')}"

        def read_number(file: str, second: Slot) -> str:
            return f.let(f"call i64 @lamina.read_number({here}, ptr {f.string(file)}, ptr {second.at})")

        with f.when("eq i32 %version, 2"):
            quota.set(read_number("cpu.max", period))
        with f.when("eq i32 %version, 1"):
            quota.set(read_number("cpu.cfs_quota_us", unused))
            period.set(read_number("cpu.cfs_period_us", unused))
        least = f.let(f"call i64 @llvm.smin.i64(i64 {quota.get()}, i64 {period.get()})")  # "max" and -1: no quota
        with f.when(f"sgt i64 {least}, 0"):
            rounded = f.let(f"add i64 {quota.get()}, {f.let(f'sub i64 {period.get()}, 1')}")
            threads = f.let(f"sdiv i64 {rounded}, {period.get()}")
            known = f.load("i64", "%limit")
            f.do(f"store i64 {f.let(f'call i64 @llvm.smin.i64(i64 {threads}, i64 {known})')}, ptr %limit")
        f.leave_when(f"eq i64 {length.get()}, 0")
        with f.loop():
            length.set(f.let(f"sub i64 {length.get()}, 1"))
            f.leave_when(f"eq i64 {length.get()}, 0")
            f.leave_when(f"eq i8 {f.load('i8', f.element('i8', '%path', length.get()))}, 47  ; /")
    f.ret()

    f = writer.function("weak i32 @lamina_quota_threads(ptr %root)",
                        "The processors that the control groups' quotas grant, rounded up; 2^20 if there is no quota.\n"
                        "The root of the file system is \"\", or a folder in which tests lay out their own.")
    limit = f.variable("i64", 1 << 20)
    name, text, controllers = f.variable("[4096 x i8]"), f.variable("[8192 x i8]"), f.variable("[1024 x i8]")
    f.format(name.at, 4096, "%s/proc/self/cgroup", "ptr %root")
    f.do(f"call i64 @lamina.read_text(ptr {name.at}, ptr {text.at}, i64 8192)")
    line = f.variable("ptr", text.at)
    with f.loop():
        end = f.let(f"call ptr @strchr(ptr {line.get()}, i32 10)")
        f.leave_when(f"eq ptr {end}, null")
        f.do(f"store i8 0, ptr {end}")
        first = f.let(f"call ptr @strchr(ptr {line.get()}, i32 58)  ; the colon after the hierarchy's number")
        f.leave_when(f"eq ptr {first}, null")
        names = f.element("i8", first, 1)
        second = f.let(f"call ptr @strchr(ptr {names}, i32 58)")
        f.leave_when(f"eq ptr {second}, null")
        path = f.element("i8", second, 1)
        f.do(f"store i8 0, ptr {second}")

        def walk(hierarchy: str, version: int) -> None:
            f.do(f"call void @lamina.walk_groups(ptr %root, ptr {f.string(hierarchy)}, ptr {path}, i32 {version}, "
                 f"ptr {limit.at})")

        with f.when(f"eq ptr {names}, {second}"):
            walk("", 2)
            walk("/unified", 2)
        f.format(controllers.at, 1024, ",%s,", f"ptr {names}")
        is_cpu = f.let(f"call ptr @strstr(ptr {controllers.at}, ptr {f.string(',cpu,')})")
        with f.when(f"ne ptr {is_cpu}, null"):
            walk("/cpu", 1)
        line.set(f.element("i8", end, 1))
    f.ret(f"i32 {f.let(f'trunc i64 {limit.get()} to i32')}")
    return writer.text()
