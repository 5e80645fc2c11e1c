"""How do the kernels of a running model share the processor's cores?  The thread pool, as LLVM IR.

The exported functions, in C:

    typedef void (*lamina_body)(void *args, int64_t chunk);
    void    lamina_parallel(lamina_body body, void *args, int64_t n_chunks, int32_t threads);
    int32_t lamina_begin(int32_t cap);         // a model run begins: how many threads it may use, at least 1
    void    lamina_end(int32_t threads);       // it ends; `threads` is what lamina_begin returned

One job runs at a time. Its chunks are claimed from one atomic word, @lamina.word = tickets:16 | chunks:24 | next:24.
The caller publishes a job by storing a word with next = 1 (chunk 0 is the caller's own); everybody claims the chunk
`next` by a compare-and-swap that adds 1. A worker's first claim of a job takes a ticket as well, so no more than
`threads` - 1 workers take part. Three facts make this safe without a generation number:

 1. A participant reads the job (body, args, base) only after a successful claim, and adds the chunks that it has run
    to @lamina.done when it can claim no more. The caller waits for that sum, so a job can't end, and the next can't
    be published, while anybody holds a chunk of it. A late worker finds nothing to claim, and nobody waits for it.
 2. A compare-and-swap that succeeds on a word that another job left equal (ABA) claims a free chunk of the job that
    is current now, and the job is read after it: nothing stale is ever run.
 3. Ordering, which Arm needs spelled out: the caller's stores to the job come before its store of the word (release,
    part of seq_cst); a worker's first claim reads that word or one that a claim made of it, which continues its
    release sequence, with acquire, so it sees the job. Its additions to @lamina.done are releases, the caller's
    load acquires, so the caller sees what the bodies wrote, and overwrites the job only after they have read it.
    Later claims of a participant that is already in the job carry no data: monotonic.

Sleep. @lamina.session is odd while a model runs. Workers spin on the word while it does, and for a moment after, then
sleep in a futex on @lamina.session. A worker adds itself to @lamina.sleepers, then looks at the word and the session
again, and sleeps only if both are unchanged; a caller changes the word or the session, then reads @lamina.sleepers.
All four are seq_cst, so at least one of the two sees the other (Dekker), and no wake-up is lost: if the caller saw
the sleeper it changes the session before it wakes, and the kernel compares the session under its own lock.
"""

from __future__ import annotations

from .platforms import Platform, expand

MAX_THREADS = 64
STACK_BYTES = 16 << 20
MAX_CHUNKS = (1 << 24) - 1  # of one word; more are run as several jobs
HOT_SPIN_NS = 2_000_000  # a worker that finds no chunk for so long sleeps even while a model runs
YIELD_AFTER_NS = 100_000  # and lets other threads of the machine run from here on
COLD_SPIN_NS = 50_000  # the time awake after a run: a next call within it pays no futex wake
POLLS_PER_CLOCK = 64  # looks at the word between two looks at the clock


def pool_ir(row: Platform) -> str:
    """The state, the exported functions and the workers. Needs `limit_ir` beside it."""
    values = dict(max_chunks=MAX_CHUNKS, stack_bytes=STACK_BYTES, hot_spin_ns=HOT_SPIN_NS, polls=POLLS_PER_CLOCK,
                  yield_after_ns=YIELD_AFTER_NS, cold_spin_ns=COLD_SPIN_NS, **_FIELDS)
    texts = (_STATE, _PARALLEL, _RUN_JOB, _HELP, _SESSION, _ADOPT, _SPAWN, _WORKER, _WAKE, _FLOAT_CONTROL)
    return "\n".join(expand(text, row, **values) for text in texts)


# Every group of fields that different threads write has 128 bytes of its own: two cache lines, since Intel's
# prefetcher fetches pairs of them.
_STATE = """
@lamina.word = internal global [16 x i64] zeroinitializer, align 128     ; tickets:16 | chunks:24 | next:24
@lamina.done = internal global [16 x i64] zeroinitializer, align 128     ; chunks that workers have run, ever
@lamina.job = internal global [16 x i64] zeroinitializer, align 128      ; body, args, base, control, expected
@lamina.session = internal global [32 x i32] zeroinitializer, align 128  ; session, sleepers, workers
@lamina.owner = internal global [32 x i32] zeroinitializer, align 128    ; busy, owned, process
@lamina.name = internal constant [7 x i8] c"lamina\\00"
"""

_FIELDS = {
    "body": "@lamina.job",
    "args": "getelementptr (i64, ptr @lamina.job, i64 1)",
    "base": "getelementptr (i64, ptr @lamina.job, i64 2)",      # the number of the first chunk of this job
    "control": "getelementptr (i64, ptr @lamina.job, i64 3)",   # the caller's rounding and denormal modes
    "expected": "getelementptr (i64, ptr @lamina.job, i64 4)",  # what @lamina.done will be when the job is done
    "session": "@lamina.session",
    "sleepers": "getelementptr (i32, ptr @lamina.session, i64 1)",
    "workers": "getelementptr (i32, ptr @lamina.session, i64 2)",
    "busy": "@lamina.owner",                                    # 1 while a job runs
    "owned": "getelementptr (i32, ptr @lamina.owner, i64 1)",   # 1 between lamina_begin and lamina_end
    "process": "getelementptr (i32, ptr @lamina.owner, i64 2)",
}

_PARALLEL = """
; Run body(args, chunk) for every chunk in 0..n_chunks-1, on up to %threads threads; return when all are done.
define void @lamina_parallel(ptr %body, ptr %args, i64 %n_chunks, i32 %threads) nounwind {
entry:
  %one.thread = icmp sle i32 %threads, 1
  %one.chunk = icmp sle i64 %n_chunks, 1
  %serial = or i1 %one.thread, %one.chunk
  br i1 %serial, label %inline, label %take

take:                                         ; busy: a call from inside a body, or a second caller; it runs inline
  %taken = cmpxchg ptr $busy, i32 0, i32 1 acquire monotonic
  %is.free = extractvalue { i32, i1 } %taken, 1
  br i1 %is.free, label %batch, label %inline

batch:
  %base = phi i64 [ 0, %take ], [ %base.next, %batch ]
  %left = sub i64 %n_chunks, %base
  %chunks = call i64 @llvm.smin.i64(i64 %left, i64 $max_chunks)
  call void @lamina.run_job(ptr %body, ptr %args, i64 %base, i64 %chunks, i32 %threads)
  %base.next = add i64 %base, %chunks
  %more = icmp slt i64 %base.next, %n_chunks
  br i1 %more, label %batch, label %give

give:
  store atomic i32 0, ptr $busy release, align 4
  ret void

inline:
  %any = icmp sgt i64 %n_chunks, 0
  br i1 %any, label %loop, label %out

loop:
  %chunk = phi i64 [ 0, %inline ], [ %chunk.next, %loop ]
  call void %body(ptr %args, i64 %chunk)
  %chunk.next = add i64 %chunk, 1
  %again = icmp slt i64 %chunk.next, %n_chunks
  br i1 %again, label %loop, label %out

out:
  ret void
}
"""

_RUN_JOB = """
; Publish a job, run its first chunk and what else can be claimed, wait for the chunks that workers hold.
define internal void @lamina.run_job(ptr %body, ptr %args, i64 %base, i64 %chunks, i32 %threads) nounwind {
entry:
  store ptr %body, ptr $body, align 8
  store ptr %args, ptr $args, align 8
  store i64 %base, ptr $base, align 8
  %control = call i64 @lamina.float_control()
  store i64 %control, ptr $control, align 8
  %most = call i32 @llvm.smin.i32(i32 %threads, i32 65535)
  %others = sub i32 %most, 1
  %others.wide = zext i32 %others to i64
  %rest = sub i64 %chunks, 1
  %tickets = call i64 @llvm.smin.i64(i64 %others.wide, i64 %rest)
  %high = shl i64 %tickets, 48
  %middle = shl i64 %chunks, 24
  %upper = or i64 %high, %middle
  %word = or i64 %upper, 1
  store atomic i64 %word, ptr @lamina.word seq_cst, align 8
  %sleepers = load atomic i32, ptr $sleepers seq_cst, align 4
  %asleep = icmp sgt i32 %sleepers, 0
  br i1 %asleep, label %wake, label %work

wake:
  %wanted = trunc i64 %tickets to i32
  call void @lamina.wake(i32 %wanted, i32 %sleepers, i32 2)
  br label %work

work:
  call void %body(ptr %args, i64 %base)
  %claimed = call i64 @lamina.help(ptr %body, ptr %args, i64 %base)
  %by.workers = sub i64 %rest, %claimed
  %before = load i64, ptr $expected, align 8
  %expected = add i64 %before, %by.workers
  store i64 %expected, ptr $expected, align 8
  br label %wait

wait:                                         ; spin a while, then let the workers have this core
  %spins = phi i32 [ 0, %work ], [ %spins.next, %spin ], [ %spins, %yield ]
  %done = load atomic i64, ptr @lamina.done acquire, align 8
  %finished = icmp eq i64 %done, %expected
  br i1 %finished, label %out, label %still

still:
  %patient = icmp slt i32 %spins, 2000
  br i1 %patient, label %spin, label %yield

spin:
  $pause
  %spins.next = add i32 %spins, 1
  br label %wait

yield:
  call i32 @sched_yield()
  br label %wait

out:
  ret void
}
"""

_HELP = """
; Run chunks of the current job until none is left to claim; return how many. For a participant of the job only.
define internal i64 @lamina.help(ptr %body, ptr %args, i64 %base) nounwind {
entry:
  %first = load atomic i64, ptr @lamina.word monotonic, align 8
  br label %look

look:
  %word = phi i64 [ %first, %entry ], [ %seen, %claim ], [ %later, %run ]
  %count = phi i64 [ 0, %entry ], [ %count, %claim ], [ %count.next, %run ]
  %next = and i64 %word, 16777215
  %shifted = lshr i64 %word, 24
  %chunks = and i64 %shifted, 16777215
  %left = icmp ult i64 %next, %chunks
  br i1 %left, label %claim, label %out

claim:
  %word.next = add i64 %word, 1
  %swap = cmpxchg ptr @lamina.word, i64 %word, i64 %word.next monotonic monotonic
  %seen = extractvalue { i64, i1 } %swap, 0
  %claimed = extractvalue { i64, i1 } %swap, 1
  br i1 %claimed, label %run, label %look

run:
  %chunk = add i64 %base, %next
  call void %body(ptr %args, i64 %chunk)
  %count.next = add i64 %count, 1
  %later = load atomic i64, ptr @lamina.word monotonic, align 8
  br label %look

out:
  ret i64 %count
}
"""

_SESSION = """
; A model run begins: take the pool, make and wake the workers. Returns how many threads the run may use: 1 if another
; thread holds the pool.
define i32 @lamina_begin(i32 %cap) nounwind {
entry:
  %limit = call i32 @lamina_max_threads()
  %is.capped = icmp sgt i32 %cap, 0
  %bound = select i1 %is.capped, i32 %cap, i32 %limit
  %wanted = call i32 @llvm.smin.i32(i32 %bound, i32 %limit)
  %serial = icmp sle i32 %wanted, 1
  br i1 %serial, label %alone, label %check

check:
  %is.ours = call i1 @lamina.adopt()
  br i1 %is.ours, label %take, label %alone

take:
  %taken = cmpxchg ptr $owned, i32 0, i32 1 acquire monotonic
  %is.free = extractvalue { i32, i1 } %taken, 1
  br i1 %is.free, label %taken.now, label %alone

taken.now:
  %others = sub i32 %wanted, 1
  %present = load atomic i32, ptr $workers monotonic, align 4
  %short = icmp slt i32 %present, %others
  br i1 %short, label %spawn, label %rouse

spawn:
  %made = call i32 @lamina.spawn(i32 %others)
  %none = icmp eq i32 %made, 0
  br i1 %none, label %give, label %rouse

give:                                         ; the system makes no threads: carry on without
  store atomic i32 0, ptr $owned release, align 4
  br label %alone

rouse:                                        ; the session becomes odd: who spins goes on, who sleeps is woken
  %workers = phi i32 [ %present, %taken.now ], [ %made, %spawn ]
  %helpers = call i32 @llvm.smin.i32(i32 %workers, i32 %others)
  %threads = add i32 %helpers, 1
  atomicrmw add ptr $session, i32 1 seq_cst
  %sleepers = load atomic i32, ptr $sleepers seq_cst, align 4
  %asleep = icmp sgt i32 %sleepers, 0
  br i1 %asleep, label %wake, label %out

wake:
  call void @lamina.wake(i32 %helpers, i32 %sleepers, i32 0)
  br label %out

out:
  ret i32 %threads

alone:
  ret i32 1
}

; The run ends: the session becomes even, the workers go to sleep soon, the pool is free.
define void @lamina_end(i32 %threads) nounwind {
entry:
  %shared = icmp sgt i32 %threads, 1
  br i1 %shared, label %give, label %out

give:
  atomicrmw add ptr $session, i32 1 release
  store atomic i32 0, ptr $owned release, align 4
  br label %out

out:
  ret void
}
"""

_ADOPT = """
; Is the state this process's own? A child of fork() has a copy of it but not the threads: reset it, once. While
; another thread does so (process holds -pid) the answer is no.
define internal i1 @lamina.adopt() nounwind {
entry:
  %pid = call i32 @getpid()
  %seen = load atomic i32, ptr $process acquire, align 4
  %same = icmp eq i32 %seen, %pid
  br i1 %same, label %yes, label %other

other:
  %mark = sub i32 0, %pid
  %is.marked = icmp eq i32 %seen, %mark
  br i1 %is.marked, label %no, label %claim

claim:
  %swap = cmpxchg ptr $process, i32 %seen, i32 %mark acquire monotonic
  %won = extractvalue { i32, i1 } %swap, 1
  br i1 %won, label %reset, label %no

reset:
  store atomic i64 0, ptr @lamina.word monotonic, align 8
  store atomic i64 0, ptr @lamina.done monotonic, align 8
  store i64 0, ptr $expected, align 8
  store atomic i32 0, ptr $session monotonic, align 4
  store atomic i32 0, ptr $sleepers monotonic, align 4
  store atomic i32 0, ptr $workers monotonic, align 4
  store atomic i32 0, ptr $busy monotonic, align 4
  store atomic i32 0, ptr $owned monotonic, align 4
  store atomic i32 %pid, ptr $process release, align 4
  br label %yes

yes:
  ret i1 true

no:
  ret i1 false
}
"""

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
  %polls = phi i32 [ 0, %spell ], [ %polls.next, %pause ], [ 0, %start ], [ 0, %short ], [ 0, %yield ], [ %polls, %claim ]
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

claim:                                        ; one chunk more, one ticket less; acquire: the job is read below
  %word.next = sub i64 %word, 281474976710655                     ; (1 << 48) - 1
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
  %chunk = add i64 %base, %next
  call void %body(ptr %args, i64 %chunk)
  %more = call i64 @lamina.help(ptr %body, ptr %args, i64 %base)
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
