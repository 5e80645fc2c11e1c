"""What does a worker of the thread pool do?  It spins, works and sleeps: LLVM IR. How and why is told in `pool`."""

from __future__ import annotations

from .platforms import Platform, expand
from .pool import FIELDS

STACK_BYTES = 16 << 20
HOT_SPIN_NS = 2_000_000  # a worker that finds no chunk for so long sleeps even while a model runs
YIELD_AFTER_NS = 100_000  # and lets other threads of the machine run from here on
COLD_SPIN_NS = 50_000  # the time awake after a run: a next call within it pays no futex wake
POLLS_PER_CLOCK = 64  # looks at the word between two looks at the clock



def workers_ir(row: Platform) -> str:
    """Making workers, their loop, waking them. Needs `pool_ir` beside it."""
    values = dict(stack_bytes=STACK_BYTES, hot_spin_ns=HOT_SPIN_NS, yield_after_ns=YIELD_AFTER_NS,
                  cold_spin_ns=COLD_SPIN_NS, polls=POLLS_PER_CLOCK, **FIELDS)
    return "\n".join(expand(text, row, **values) for text in (_SPAWN, _WORKER, _WAKE, _FLOAT_CONTROL))


_SPAWN = """
; Make workers until there are %wanted; return how many there are. They are detached and block signals, which belong
; to the program's own threads; those that a fault of their own raises stay open, for crash reporters.
define internal i32 @lamina.spawn(i32 %wanted) nounwind {
entry:
  %attributes = alloca [128 x i8], align 16
  %thread = alloca i64, align 8
  %blocked = alloca [128 x i8], align 16
  %previous = alloca [128 x i8], align 16
  call i32 @pthread_attr_init(ptr %attributes)
  call i32 @pthread_attr_setdetachstate(ptr %attributes, i32 1)
  call i32 @pthread_attr_setstacksize(ptr %attributes, i64 $stack_bytes)
  call i32 @sigfillset(ptr %blocked)
  call i32 @sigdelset(ptr %blocked, i32 4)    ; SIGILL
  call i32 @sigdelset(ptr %blocked, i32 5)    ; SIGTRAP
  call i32 @sigdelset(ptr %blocked, i32 7)    ; SIGBUS
  call i32 @sigdelset(ptr %blocked, i32 8)    ; SIGFPE
  call i32 @sigdelset(ptr %blocked, i32 11)   ; SIGSEGV
  call i32 @pthread_sigmask(i32 2, ptr %blocked, ptr %previous)   ; SIG_SETMASK: workers inherit it
  %present = load atomic i32, ptr $workers monotonic, align 4
  br label %next

next:
  %count = phi i32 [ %present, %entry ], [ %count.next, %made ]
  %enough = icmp sge i32 %count, %wanted
  br i1 %enough, label %out, label %make

make:
  %error = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @lamina.worker, ptr null)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %out, label %made

made:
  %count.next = add i32 %count, 1
  store atomic i32 %count.next, ptr $workers monotonic, align 4
  br label %next

out:
  call i32 @pthread_sigmask(i32 2, ptr %previous, ptr null)
  call i32 @pthread_attr_destroy(ptr %attributes)
  ret i32 %count
}
"""

_WORKER = """
@lamina.name = internal constant [7 x i8] c"lamina\\00"

; A worker's life: spin for a job, work, spin, sleep. It ends with the process.
define internal ptr @lamina.worker(ptr %nothing) nounwind {
entry:
  call i32 (i32, ...) @prctl(i32 15, ptr @lamina.name)            ; PR_SET_NAME
  %own = call i64 @lamina.float_control()
  br label %spell

spell:                                        ; a new spell of waiting; it ends when the session changes
  %modes = phi i64 [ %own, %entry ], [ %control, %report ], [ %modes, %clock ], [ %modes, %awake ]
  %session = load atomic i32, ptr $session acquire, align 4
  %parity = and i32 %session, 1
  %is.hot = icmp eq i32 %parity, 1
  %limit = select i1 %is.hot, i64 $hot_spin_ns, i64 $cold_spin_ns
  br label %look

look:
  %polls = phi i32 [ 0, %spell ], [ %polls.next, %pause ], [ 0, %start ], [ 0, %short ], [ 0, %yield ],
                   [ %polls, %claim ]
  %since = phi i64 [ 0, %spell ], [ %since, %pause ], [ %now, %start ], [ %since, %short ], [ %since, %yield ],
                   [ %since, %claim ]
  %word = load atomic i64, ptr @lamina.word monotonic, align 8
  %next = and i64 %word, 16777215
  %shifted = lshr i64 %word, 24
  %chunks = and i64 %shifted, 16777215
  %left = icmp ult i64 %next, %chunks
  %has.ticket = icmp uge i64 %word, 281474976710656               ; 1 << 48
  %claimable = and i1 %left, %has.ticket
  br i1 %claimable, label %claim, label %pause

claim:                                        ; the last chunk, and a ticket; acquire: the job is read below
  %word.next = sub i64 %word, 281474993487872                     ; (1 << 48) + (1 << 24)
  %swap = cmpxchg ptr @lamina.word, i64 %word, i64 %word.next acquire monotonic
  %claimed = extractvalue { i64, i1 } %swap, 1
  br i1 %claimed, label %join, label %look

join:                                         ; compute with the caller's modes: results don't depend on the thread
  %control = load i64, ptr $control, align 8
  %same.modes = icmp eq i64 %control, %modes
  br i1 %same.modes, label %work, label %adapt

adapt:
  call void @lamina.set_float_control(i64 %control)
  br label %work

work:
  %body = load ptr, ptr $body, align 8
  %args = load ptr, ptr $args, align 8
  %base = load i64, ptr $base, align 8
  %last = sub i64 %chunks, 1
  %chunk = add i64 %base, %last
  call void %body(ptr %args, i64 %chunk)
  %more = call i64 @lamina.help(ptr %body, ptr %args, i64 %base, i1 true)
  br label %report

report:
  %count = add i64 %more, 1
  atomicrmw add ptr @lamina.done, i64 %count release
  br label %spell

pause:
  $pause
  %polls.next = add i32 %polls, 1
  %tick = icmp eq i32 %polls.next, $polls
  br i1 %tick, label %clock, label %look

clock:
  %now = call i64 @lamina.now()
  %session.now = load atomic i32, ptr $session acquire, align 4
  %same = icmp eq i32 %session.now, %session
  br i1 %same, label %aged, label %spell

aged:
  %is.new = icmp eq i64 %since, 0
  br i1 %is.new, label %start, label %measured

start:                                        ; the first look at the clock in this spell: none after a busy job
  br label %look

measured:
  %age = sub i64 %now, %since
  %is.over = icmp sgt i64 %age, %limit
  br i1 %is.over, label %doze, label %polite

polite:
  %is.long = icmp sgt i64 %age, $yield_after_ns
  br i1 %is.long, label %yield, label %short

yield:
  call i32 @sched_yield()
  br label %look

short:
  br label %look

doze:                                         ; say so first, then look again: see Sleep above
  atomicrmw add ptr $sleepers, i32 1 seq_cst
  %word.last = load atomic i64, ptr @lamina.word seq_cst, align 8
  %session.last = load atomic i32, ptr $session seq_cst, align 4
  %next.last = and i64 %word.last, 16777215
  %shifted.last = lshr i64 %word.last, 24
  %chunks.last = and i64 %shifted.last, 16777215
  %none.left = icmp uge i64 %next.last, %chunks.last
  %no.ticket = icmp ult i64 %word.last, 281474976710656
  %nothing.to.claim = or i1 %none.left, %no.ticket
  %unchanged = icmp eq i32 %session.last, %session
  %may.sleep = and i1 %nothing.to.claim, %unchanged
  br i1 %may.sleep, label %sleep, label %awake

sleep:                                        ; FUTEX_WAIT_PRIVATE
  call i64 (i64, ...) @syscall(i64 $futex, ptr $session, i32 128, i32 %session, ptr null, ptr null, i32 0)
  br label %awake

awake:
  atomicrmw sub ptr $sleepers, i32 1 seq_cst
  br label %spell
}

; Nanoseconds of the monotonic clock.
define internal i64 @lamina.now() nounwind {
  %time = alloca [2 x i64], align 8
  call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %second = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %second, align 8
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %nanoseconds
  ret i64 %now
}
"""

_WAKE = """
; Wake sleepers until %wanted workers are awake. %step changes the session so that nobody falls asleep on the old one
; (2 keeps it odd or even; 0 if the caller has changed it).
define internal void @lamina.wake(i32 %wanted, i32 %sleepers, i32 %step) nounwind {
entry:
  %workers = load atomic i32, ptr $workers monotonic, align 4
  %awake = sub i32 %workers, %sleepers
  %missing = sub i32 %wanted, %awake
  %any = icmp sgt i32 %missing, 0
  br i1 %any, label %wake, label %out

wake:                                         ; FUTEX_WAKE_PRIVATE
  atomicrmw add ptr $session, i32 %step seq_cst
  call i64 (i64, ...) @syscall(i64 $futex, ptr $session, i32 129, i32 %missing, ptr null, ptr null, i32 0)
  br label %out

out:
  ret void
}
"""

_FLOAT_CONTROL = """
; The calling thread's floating-point modes: rounding, flushing of denormals.
define internal i64 @lamina.float_control() nounwind {
$save_float_control
  ret i64 %control
}

define internal void @lamina.set_float_control(i64 %control) nounwind {
$load_float_control
  ret void
}
"""
