"""How do the kernels of a running model share the processor's cores?  The thread pool, as LLVM IR.

The exported functions, in C:

    typedef void (*lamina_body)(void *args, int64_t chunk);
    void    lamina_parallel(lamina_body body, void *args, int64_t n_chunks, int32_t threads);
    int32_t lamina_begin(int32_t cap);         // a model run begins: how many threads it may use, at least 1
    void    lamina_end(int32_t threads);       // it ends; `threads` is what lamina_begin returned

One job runs at a time. Its chunks are claimed from one atomic word, @lamina.word = tickets:16 | end:24 | next:24.
The caller publishes a job by storing a word with next = 1 (chunk 0 is the caller's own). By a compare-and-swap the
caller claims chunk `next`, adding 1 to it, and a worker chunk `end` - 1, taking 1 from it: so one core meets the low
chunks and another the high ones run after run, and finds what they read (weights above all) in its own cache. A
worker's first claim of a job takes a ticket as well, so no more than `threads` - 1 workers take part. Three facts make
this safe without a generation number:

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
MAX_CHUNKS = (1 << 24) - 1  # of one word; more are run as several jobs


def pool_ir(row: Platform) -> str:
    """The state, the jobs and the sessions. Needs `workers_ir` and `limit_ir` beside it."""
    texts = (_STATE, _PARALLEL, _RUN_JOB, _HELP, _SESSION, _ADOPT)
    return "\n".join(expand(text, row, max_chunks=MAX_CHUNKS, **FIELDS) for text in texts)


# Each of these has 128 bytes of its own, two cache lines, since Intel's prefetcher fetches pairs of them. The job lies
# in the line of the word: who claims its first chunk has that line already (measured: 15 % of a fork and join).
_STATE = """
@lamina.word = internal global [16 x i64] zeroinitializer, align 128     ; word, body, args, base, control
@lamina.done = internal global [16 x i64] zeroinitializer, align 128     ; chunks that workers have run, ever
@lamina.session = internal global [32 x i32] zeroinitializer, align 128  ; session, sleepers, workers
@lamina.owner = internal global [32 x i32] zeroinitializer, align 128    ; busy, owned, process, expected
"""

FIELDS = {
    "body": "getelementptr (i64, ptr @lamina.word, i64 1)",
    "args": "getelementptr (i64, ptr @lamina.word, i64 2)",
    "base": "getelementptr (i64, ptr @lamina.word, i64 3)",      # the number of the first chunk of this job
    "control": "getelementptr (i64, ptr @lamina.word, i64 4)",   # the caller's rounding and denormal modes
    "session": "@lamina.session",
    "sleepers": "getelementptr (i32, ptr @lamina.session, i64 1)",
    "workers": "getelementptr (i32, ptr @lamina.session, i64 2)",
    "busy": "@lamina.owner",                                     # 1 while a job runs
    "owned": "getelementptr (i32, ptr @lamina.owner, i64 1)",    # 1 between lamina_begin and lamina_end
    "process": "getelementptr (i32, ptr @lamina.owner, i64 2)",
    "expected": "getelementptr (i64, ptr @lamina.owner, i64 2)",  # what @lamina.done will be when the job is done
}

_PARALLEL = """
; Run body(args, chunk) for every chunk in 0..n_chunks-1, on up to %threads threads; return when all are done.
define weak void @lamina_parallel(ptr %body, ptr %args, i64 %n_chunks, i32 %threads) nounwind {
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
  %claimed = call i64 @lamina.help(ptr %body, ptr %args, i64 %base, i1 false)
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
; Run chunks of the current job, from its front or its back, until none is left to claim; return how many. For a
; participant of the job only.
define internal i64 @lamina.help(ptr %body, ptr %args, i64 %base, i1 %back) nounwind {
entry:
  %step = select i1 %back, i64 -16777216, i64 1
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
  %word.next = add i64 %word, %step
  %swap = cmpxchg ptr @lamina.word, i64 %word, i64 %word.next monotonic monotonic
  %seen = extractvalue { i64, i1 } %swap, 0
  %claimed = extractvalue { i64, i1 } %swap, 1
  br i1 %claimed, label %run, label %look

run:
  %last = sub i64 %chunks, 1
  %mine = select i1 %back, i64 %last, i64 %next
  %chunk = add i64 %base, %mine
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
define weak i32 @lamina_begin(i32 %cap) nounwind {
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
define weak void @lamina_end(i32 %threads) nounwind {
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
