"""Does the native thread pool run every chunk once, whoever calls it, and sleep when nobody does?"""

import ctypes
import os
import platform as host
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from lamina.compiler.codegen.support import EXPORTS, MAX_THREADS, support_ir
from lamina.compiler.core.errors import UnsupportedError

BODIES = """
declare void @lamina_parallel(ptr, ptr, i64, i32)
declare i32 @lamina_begin(i32)
declare void @lamina_end(i32)
declare i64 @pthread_self()
declare i32 @sched_yield()

; counters[chunk] += 1
define void @count(ptr %counters, i64 %chunk) {
  %at = getelementptr i64, ptr %counters, i64 %chunk
  atomicrmw add ptr %at, i64 1 monotonic
  ret void
}

; the same in bytes
define void @mark(ptr %counters, i64 %chunk) {
  %at = getelementptr i8, ptr %counters, i64 %chunk
  %old = load i8, ptr %at
  %new = add i8 %old, 1
  store i8 %new, ptr %at
  ret void
}

; args[0] += 1 once per chunk, then wait until args[0] reaches args[1] or patience ends; args[2 + chunk] = this thread
define void @meet(ptr %args, i64 %chunk) {
entry:
  %me = call i64 @pthread_self()
  %slot = add i64 %chunk, 2
  %at = getelementptr i64, ptr %args, i64 %slot
  store i64 %me, ptr %at
  %goal.at = getelementptr i64, ptr %args, i64 1
  %goal = load i64, ptr %goal.at
  atomicrmw add ptr %args, i64 1 acq_rel
  br label %wait
wait:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %here = load atomic i64, ptr %args acquire, align 8
  %met = icmp uge i64 %here, %goal
  %tired = icmp ugt i64 %i, 3000000
  %stop = or i1 %met, %tired
  br i1 %stop, label %out, label %again
again:
  call i32 @sched_yield()
  %next = add i64 %i, 1
  br label %wait
out:
  ret void
}

; args = { counters, inner, threads }: count counters[chunk * inner + 0 .. inner - 1] by a call from inside a body
define void @nested(ptr %args, i64 %chunk) {
  %counters = load ptr, ptr %args
  %inner.at = getelementptr i64, ptr %args, i64 1
  %inner = load i64, ptr %inner.at
  %threads.at = getelementptr i64, ptr %args, i64 2
  %threads = load i32, ptr %threads.at
  %start = mul i64 %chunk, %inner
  %mine = getelementptr i64, ptr %counters, i64 %start
  call void @lamina_parallel(ptr @count, ptr %mine, i64 %inner, i32 %threads)
  ret void
}

; Whole model runs: begin, one job, end.
define void @sessions(ptr %body, ptr %args, i64 %chunks, i32 %cap, i64 %times) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %threads = call i32 @lamina_begin(i32 %cap)
  call void @lamina_parallel(ptr %body, ptr %args, i64 %chunks, i32 %threads)
  call void @lamina_end(i32 %threads)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %times
  br i1 %more, label %loop, label %out
out:
  ret void
}

; results[chunk] = 1 / 3 in the rounding mode of the thread, after a meeting of two
define void @third(ptr %args, i64 %chunk) {
  call void @meet(ptr %args, i64 %chunk)
  %one.at = alloca double
  store volatile double 1.0, ptr %one.at
  %one = load volatile double, ptr %one.at
  %quotient = fdiv double %one, 3.0
  %slot = add i64 %chunk, 64
  %at = getelementptr double, ptr %args, i64 %slot
  store double %quotient, ptr %at
  ret void
}

; Touch 12 MB of stack, if this is not chunk 0, which the caller runs on its own stack.
define void @deep(ptr %args, i64 %chunk) {
  call void @meet(ptr %args, i64 %chunk)
  %is.worker = icmp ne i64 %chunk, 0
  br i1 %is.worker, label %touch, label %out
touch:
  %room = alloca [12582912 x i8]
  call void @llvm.memset.p0.i64(ptr %room, i8 1, i64 12582912, i1 true)
  br label %out
out:
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
BODY_NAMES = ("count", "mark", "meet", "nested", "sessions", "third", "deep")
_KEPT = []  # the code of a pool whose workers exist must never be unmapped


def emit(text: str, triple: str | None = None) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = triple or llvm.get_default_triple()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=1, reloc="pic", codemodel="small")
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(machine.target_data)
    module.verify()
    return machine.emit_object(module)


class Pool:
    """A fresh copy of the pool in this process, and the test bodies."""

    def __init__(self):
        objects = emit(support_ir(llvm.get_default_triple())), emit(BODIES)
        jit = llvm.create_lljit_compiler(use_jit_link=True)
        library = llvm.JITLibraryBuilder().add_current_process()
        for code in objects:
            library.add_object_img(code)
        for name in EXPORTS + BODY_NAMES:
            library.export_symbol(name)
        self.at = library.link(jit, f"pool{len(_KEPT)}")
        _KEPT.append((jit, self.at))
        i32, i64, p = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        self.parallel = self.bind("lamina_parallel", None, p, p, i64, i32)
        self.begin = self.bind("lamina_begin", i32, i32)
        self.end = self.bind("lamina_end", None, i32)
        self.max_threads = self.bind("lamina_max_threads", i32)
        self.set_max_threads = self.bind("lamina_set_max_threads", None, i32)
        self.quota_threads = self.bind("lamina_quota_threads", i32, ctypes.c_char_p)
        self.sessions = self.bind("sessions", None, p, p, i64, i32, i64)

    def bind(self, name, result, *arguments):
        return ctypes.CFUNCTYPE(result, *arguments)(self.at[name])

    def meet(self, threads: int, chunks: int, goal: int, body: str = "meet") -> np.ndarray:
        """Chunks that each wait until `goal` of them are under way: room for results in [64:]."""
        args = np.zeros(128, np.int64)
        args[1] = goal
        self.parallel(self.at[body], args.ctypes.data, chunks, threads)
        return args


@pytest.fixture(scope="module")
def pool():
    return Pool()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_chunk_runs_once(pool, threads):
    pool.set_max_threads(threads)
    used = pool.begin(0)
    assert used == threads
    for chunks in (0, 1, 2, 3, 7, 8, 64, 1000, 70_000):
        counters = np.zeros(chunks + 2, np.int64)
        pool.parallel(pool.at["count"], counters.ctypes.data, chunks, used)
        assert (counters[:chunks] == 1).all() and not counters[chunks:].any(), chunks
    pool.end(used)


def test_more_chunks_than_one_word_counts(pool):
    chunks = (1 << 24) + 5
    counters = np.zeros(chunks, np.uint8)
    pool.set_max_threads(2)
    used = pool.begin(0)
    pool.parallel(pool.at["mark"], counters.ctypes.data, chunks, used)
    pool.end(used)
    assert (counters == 1).all()


def test_chunks_run_in_order_on_one_thread(pool):
    order = []
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(lambda args, chunk: order.append(chunk))
    pool.parallel(ctypes.cast(body, ctypes.c_void_p), None, 20, 1)
    assert order == list(range(20))


def test_threads_work_at_once(pool):
    pool.set_max_threads(4)
    used = pool.begin(0)
    args = pool.meet(used, chunks=4, goal=4)
    pool.end(used)
    assert used == 4 and len(set(args[2:6])) == 4


def test_a_job_takes_no_more_threads_than_it_was_given(pool):
    pool.set_max_threads(6)
    pool.end(pool.begin(0))  # five workers exist
    used = pool.begin(2)
    assert used == 2
    seen = set()
    for _ in range(200):
        seen_now = set(pool.meet(used, chunks=8, goal=2)[2:10])
        assert len(seen_now) <= 2
        seen |= seen_now
    pool.end(used)
    assert len(seen) >= 2


def test_cap_and_limit(pool):
    pool.set_max_threads(3)
    for cap, expected in ((0, 3), (-1, 3), (1, 1), (2, 2), (3, 3), (100, 3)):
        used = pool.begin(cap)
        assert used == expected
        pool.end(used)
    for wish, limit in ((0, 1), (-5, 1), (1, 1), (1000, MAX_THREADS), (2, 2)):
        pool.set_max_threads(wish)
        assert pool.max_threads() == limit


def test_a_second_caller_runs_inline_while_the_pool_is_taken(pool):
    pool.set_max_threads(2)
    used = pool.begin(0)
    second = []
    thread = threading.Thread(target=lambda: second.append(pool.begin(0)))
    thread.start()
    thread.join()
    pool.end(second[0])  # releases nothing
    assert (used, second) == (2, [1])
    thread = threading.Thread(target=lambda: second.append(pool.begin(0)))
    thread.start()
    thread.join()
    assert second == [1, 1]
    pool.end(used)
    again = pool.begin(0)
    pool.end(again)
    assert again == 2


def test_nested_calls_run_inline(pool):
    pool.set_max_threads(3)
    outer, inner = 50, 33
    counters = np.zeros(outer * inner, np.int64)
    args = np.array([counters.ctypes.data, inner, 3], np.int64)
    used = pool.begin(0)
    for _ in range(50):
        pool.parallel(pool.at["nested"], args.ctypes.data, outer, used)
    pool.end(used)
    assert (counters == 50).all()


def test_python_threads_at_once(pool):
    pool.set_max_threads(3)
    counters = np.zeros((3, 16), np.int64)

    def work(row):
        pool.sessions(pool.at["count"], counters[row].ctypes.data, 16, 0, 5000)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counters == 5000).all()


def test_two_callers_without_a_session_are_safe(pool):
    pool.set_max_threads(2)
    pool.end(pool.begin(0))
    counters = np.zeros((2, 8), np.int64)

    def work(row):
        for _ in range(3000):
            pool.parallel(pool.at["count"], counters[row].ctypes.data, 8, 2)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counters == 3000).all()


@pytest.mark.parametrize("threads", [2, 5])
def test_many_quick_calls(pool, threads):
    pool.set_max_threads(threads)
    counters = np.zeros(5, np.int64)
    pool.sessions(pool.at["count"], counters.ctypes.data, 5, 0, 100_000)
    assert (counters == 100_000).all()


def test_wakes_after_every_kind_of_pause(pool):
    """The workers take part again whether they spin, are falling asleep, or sleep."""
    pool.set_max_threads(2)
    for pause in [0, 20e-6, 50e-6, 55e-6, 100e-6, 1e-3, 5e-3] * 30:
        deadline = time.perf_counter() + pause
        while time.perf_counter() < deadline:
            pass
        used = pool.begin(0)
        args = pool.meet(used, chunks=2, goal=2)
        pool.end(used)
        assert len(set(args[2:4])) == 2


def test_workers_asleep_in_a_session_are_woken_by_a_job(pool):
    pool.set_max_threads(2)
    used = pool.begin(0)
    time.sleep(0.05)  # longer than a worker spins
    args = pool.meet(used, chunks=2, goal=2)
    pool.end(used)
    assert len(set(args[2:4])) == 2


def test_workers_compute_in_the_callers_rounding_mode(pool):
    libm = ctypes.CDLL(None)
    upward = {"x86_64": 0x800, "aarch64": 0x400000}[host.machine()]
    pool.set_max_threads(2)
    used = pool.begin(0)
    try:
        for mode, expected in ((upward, np.nextafter(1 / 3, 1)), (0, 1 / 3), (upward, np.nextafter(1 / 3, 1))):
            assert libm.fesetround(mode) == 0
            args = pool.meet(used, chunks=2, goal=2, body="third")
            libm.fesetround(0)
            assert len(set(args[2:4])) == 2
            assert (args[64:66].view(np.float64) == expected).all()
    finally:
        libm.fesetround(0)
        pool.end(used)


def test_workers_have_room_on_the_stack(pool):
    pool.set_max_threads(2)
    used = pool.begin(0)
    args = pool.meet(used, chunks=2, goal=2, body="deep")
    pool.end(used)
    assert len(set(args[2:4])) == 2


def run_script(script: str, **environment) -> str:
    """Run Python lines in a process of their own, with a fresh `pool`; return what they print."""
    prelude = f"import sys, os, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" \
              "import numpy as np\nfrom test_pool import Pool\npool = Pool()\n"
    env = {k: v for k, v in os.environ.items() if k != "LAMINA_NUM_THREADS"} | environment
    done = subprocess.run([sys.executable, "-c", prelude + script], capture_output=True, text=True, env=env,
                          timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_fork():
    script = """
pool.set_max_threads(3)
def check():
    used = pool.begin(0)
    met = len(set(pool.meet(used, 3, 3)[2:5]))
    counters = np.zeros(100, np.int64)
    pool.parallel(pool.at["count"], counters.ctypes.data, 100, used)
    pool.end(used)
    return (used, met, bool((counters == 1).all()))
results = [check()]
def child(forker):
    pid = os.fork()
    if pid == 0:
        ok = forker()
        os._exit(0 if ok else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
good = (3, 3, True)
assert check() == good
assert child(lambda: check() == good) == 0                                  # workers awake or asleep
time.sleep(0.05)
assert child(lambda: check() == good and child(lambda: check() == good) == 0) == 0   # a grandchild
used = pool.begin(0)
assert child(lambda: check() == good) == 0                                  # taken at the time of the fork
assert len(set(pool.meet(used, 3, 3)[2:5])) == 3
pool.end(used)
assert check() == good
print("ok")
"""
    assert run_script(script) == "ok"


def test_idle_workers_use_no_processor():
    script = """
pool.set_max_threads(4)
used = pool.begin(0); pool.meet(used, 4, 4); pool.end(used)
time.sleep(0.01)
before = time.process_time(); time.sleep(1.0); print(time.process_time() - before)
used = pool.begin(0); pool.meet(used, 4, 4)
time.sleep(0.05)       # a session in which nothing runs: asleep as well
before = time.process_time(); time.sleep(0.5); print(time.process_time() - before)
"""
    after, within = map(float, run_script(script).split())
    assert after < 0.02 and within < 0.02


def test_workers_block_signals_and_bear_a_name():
    script = """
pool.set_max_threads(3)
used = pool.begin(0); pool.meet(used, 3, 3); pool.end(used)
names, masks = [], []
for task in os.listdir("/proc/self/task"):
    status = dict(line.split(":", 1) for line in open(f"/proc/self/task/{task}/status"))
    if status["Name"].strip() == "lamina":
        masks.append(int(status["SigBlk"], 16))
import signal
print(len(masks), all(m >> (s - 1) & 1 for m in masks for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM,
      signal.SIGCHLD, signal.SIGUSR1, signal.SIGPROF)), any(m >> (signal.SIGSEGV - 1) & 1 for m in masks),
      len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""
    assert run_script(script) == "2 True False 0"


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)", "pass"])
def test_exit_while_workers_spin(leave):
    for pause in (0, 0.01):
        run_script("pool.set_max_threads(3)\nused = pool.begin(0)\npool.meet(used, 3, 3)\n"
                   f"time.sleep({pause})\n{leave}")


@pytest.mark.parametrize("value, expected", [("1", "1"), ("3", "3"), (" 5", "5"), ("1000", str(MAX_THREADS)),
                                             ("99999999999999999999", str(MAX_THREADS))])
def test_environment_sets_the_limit(value, expected):
    assert run_script("print(pool.max_threads())", LAMINA_NUM_THREADS=value) == expected


@pytest.mark.parametrize("value", ["", "0", "-2", "two", "4x", "1.5"])
def test_environment_that_is_no_number_is_ignored(value):
    assert run_script("print(pool.max_threads())", LAMINA_NUM_THREADS=value) == run_script("print(pool.max_threads())")


def test_affinity_sets_the_limit():
    script = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nprint(pool.max_threads(), pool.begin(0))"
    assert run_script(script) == "1 1"
    count = min(len(os.sched_getaffinity(0)), MAX_THREADS)
    assert int(run_script("print(pool.max_threads())")) <= count


def lay_out(root: Path, files: dict[str, str]) -> bytes:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root).encode()


NO_QUOTA = 1 << 20
V1 = "4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n"


@pytest.mark.parametrize("files, expected", [
    ({}, NO_QUOTA),
    ({"proc/self/cgroup": "0::/\n"}, NO_QUOTA),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, NO_QUOTA),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
      "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 3),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "500000 100000\n",
      "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n"}, 4),
    ({"proc/self/cgroup": "0::/docker/1234\n", "sys/fs/cgroup/cpu.max": "250000 50000\n"}, 5),
    ({"proc/self/cgroup": "1:name=systemd:/\n0::/x\n", "sys/fs/cgroup/unified/x/cpu.max": "600000 100000\n"}, 6),
    ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "700000\n",
      "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n"}, 7),
    ({"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1\n",
      "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "750001\n",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ({"proc/self/cgroup": "3:cpuset:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000\n",
      "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n"}, NO_QUOTA),
    ({"proc/self/cgroup": "garbage\n0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, NO_QUOTA),
])
def test_control_groups_set_the_limit(pool, tmp_path, files, expected):
    assert pool.quota_threads(lay_out(tmp_path, files)) == expected


@pytest.mark.parametrize("triple, marks", [("x86_64-unknown-linux-gnu", ["pause", "lock", "cmpxchg"]),
                                           ("aarch64-unknown-linux-gnu", ["isb", "ldaxr", "stlr", "fpcr"])])
def test_compiles_for_every_platform(triple, marks):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=1, reloc="pic", codemodel="small")
    module = llvm.parse_assembly(support_ir(triple))
    module.data_layout = str(machine.target_data)
    assembly = machine.emit_assembly(module)
    for mark in [*marks, *(f"\n{name}:" for name in EXPORTS)]:
        assert mark in assembly.lower(), mark


@pytest.mark.parametrize("triple, os_name", [("riscv64-unknown-linux-gnu", "linux"),
                                             ("x86_64-pc-windows-msvc", "linux"),
                                             ("x86_64-unknown-linux-gnu", "macos")])
def test_other_platforms_are_refused_by_name(triple, os_name):
    with pytest.raises(UnsupportedError, match=triple):
        support_ir(triple, os_name)


MAIN = BODIES + """
; 2000 runs of 9 chunks on up to 3 threads, a meeting of three; the exit status says what failed.
define i32 @main() {
entry:
  %counters = alloca [9 x i64], align 16
  call void @llvm.memset.p0.i64(ptr %counters, i8 0, i64 72, i1 false)
  call void @lamina_set_max_threads(i32 3)
  call void @sessions(ptr @count, ptr %counters, i64 9, i32 0, i64 2000)
  %args = alloca [16 x i64], align 16
  call void @llvm.memset.p0.i64(ptr %args, i8 0, i64 128, i1 false)
  %goal = getelementptr i64, ptr %args, i64 1
  store i64 3, ptr %goal
  call void @sessions(ptr @meet, ptr %args, i64 3, i32 0, i64 1)
  %met = load i64, ptr %args
  %all.met = icmp eq i64 %met, 3
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %good = phi i1 [ %all.met, %entry ], [ %still, %loop ]
  %at = getelementptr i64, ptr %counters, i64 %i
  %count = load i64, ptr %at
  %right = icmp eq i64 %count, 2000
  %still = and i1 %good, %right
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 9
  br i1 %more, label %loop, label %out
out:
  %status = select i1 %still, i32 0, i32 1
  ret i32 %status
}
declare void @lamina_set_max_threads(i32)
"""


def test_in_an_executable_of_its_own(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to link with")
    (tmp_path / "pool.o").write_bytes(emit(support_ir(llvm.get_default_triple())))
    (tmp_path / "main.o").write_bytes(emit(MAIN))
    for extra in ([], ["-static"]):
        subprocess.run([compiler, "pool.o", "main.o", "-o", "main", *extra], cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / "main"], timeout=60).returncode == 0


def test_on_arm_under_emulation(tmp_path):
    """Functional only: the emulator keeps x86's strong ordering."""
    linker, emulator = shutil.which("aarch64-linux-gnu-ld"), shutil.which("qemu-aarch64-static")
    libraries = Path("/usr/aarch64-linux-gnu/lib")
    if linker is None or emulator is None or not (libraries / "crt1.o").exists():
        pytest.skip("needs an aarch64 linker, C library and qemu-aarch64-static")
    triple = "aarch64-unknown-linux-gnu"
    (tmp_path / "pool.o").write_bytes(emit(support_ir(triple), triple))
    (tmp_path / "main.o").write_bytes(emit(MAIN, triple))
    subprocess.run([linker, "-o", "main", libraries / "crt1.o", libraries / "crti.o", "pool.o", "main.o",
                    libraries / "libc.so.6", libraries / "libc_nonshared.a", libraries / "crtn.o", "-dynamic-linker",
                    "/lib/ld-linux-aarch64.so.1"], cwd=tmp_path, check=True)
    done = subprocess.run([emulator, "-L", libraries.parent, tmp_path / "main"], timeout=100)
    assert done.returncode == 0
