"""Where does the time of a model go?  Native code notes the clock around each launch; runs that are measured and runs
that are not take turns.

The entry point of every executable looks at one word of its frame: where it holds the address of a record, each launch
adds its clock ticks and its count there, and an event (compiler/codegen/host.py). Nothing is compiled anew, and what is
measured is what runs.

The share of the roofline is that of Williams, Waterman and Patterson (2009), with a bandwidth for each working set as
in Ilic, Pratas and Sousa (2014): what one launch reads of another's results comes from the cache that holds its bytes;
a weight is read once a run, so it comes from the cache that holds the whole model, or from memory.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from dataclasses import asdict, dataclass, field

import numpy as np

from .amounts import format_seconds
from .atomic import written_whole
from .signature import extent_of

LEAST_RUNS = 5  # of each kind, however long one takes
MOST_RUNS = 4000
SPAN = 0.02  # seconds between the first and the last run at least: the clock's rate is taken over them
MOST_EVENTS = 1 << 18  # of a trace; what comes after is left out of it
EVENT_WORDS = 3


# ---- the machine -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Roofline:
    """What a machine can do: `flops` a second by dtype, and `bandwidth`, (bytes of the working set, bytes a second) by
    size."""

    flops: dict[str, float]
    bandwidth: tuple[tuple[float, float], ...]

    def bandwidth_for(self, working_set: float) -> float:
        """Bytes a second where this many are used again and again: between the measured sizes on a straight line of
        logarithms."""
        sizes, rates = zip(*self.bandwidth)
        return math.exp(np.interp(math.log(max(working_set, 1)), np.log(sizes), np.log(rates)))

    def seconds(self, flops: int, dtype: str, nbytes: int, weight_bytes: int, footprint: int) -> tuple[float, str]:
        """(the least time, what bounds it: "compute" or "memory") of a launch; `footprint` is what one run of the model
        touches."""
        compute = flops / self.flops[dtype] if dtype in self.flops else 0.0
        memory = (nbytes - weight_bytes) / self.bandwidth_for(nbytes - weight_bytes)
        if weight_bytes:
            memory += weight_bytes / self.bandwidth_for(max(footprint, weight_bytes))
        return max((compute, "compute"), (memory, "memory"))


# ---- what was measured -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Row:
    """A launch: its kernel, where it comes from, how often it ran in one run, and its time in one run: the median over
    all runs, and the `minimum`. `share` is the time that the roofline allows over the median; None where there is no
    roofline or it did not run."""

    launch: int
    kernel: str
    label: str
    line: str
    layer: str
    count: int
    seconds: float
    minimum: float
    flops: int
    bytes: int
    bound: str | None = None
    share: float | None = None

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Part:
    """Several launches under one name: a line, a layer or a kernel."""

    name: str
    launches: int
    seconds: float
    flops: int
    bytes: int
    share: float | None


@dataclass(frozen=True)
class Profile:
    """Where the time of one run goes.

    rows            a Row for each launch, in program order
    call_seconds    one native call that is not measured: the median
    kernel_seconds  the sum of the rows; the rest of the call is the host's
    overhead        how much longer a measured call takes, as a share of one that is not: of the fastest of each kind
    runs            how many of each kind there were; `is_interrupted` where the user ended it early
    roofline        the machine that shares refer to, or None
    """

    name: str
    rows: tuple[Row, ...]
    call_seconds: float
    overhead: float
    runs: int
    threads: int
    roofline: Roofline | None = None
    is_interrupted: bool = False
    events: np.ndarray = field(default=None, repr=False, compare=False)  # [n, 3]: launch, nanoseconds at begin and end
    missing_events: int = 0

    @property
    def kernel_seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def parts(self, by: str, depth: int | None = None) -> list[Part]:
        """Rows summed by "line", "layer" or "kernel", the longest first. `depth` cuts layers to so many parts of their
        path."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(_key(row, by, depth), []).append(row)
        return sorted((_part(name, rows) for name, rows in groups.items()), key=lambda p: -p.seconds)

    def text(self, by: str = "launch", limit: int | None = None, depth: int | None = None) -> str:
        """A table: of single launches in program order, or by "kernel", "line" or "layer". `limit` keeps the
        longest."""
        header, rows = self.table(by, limit, depth)
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        lines = ["  ".join(c.ljust(w) if i == len(header) - 1 else c.rjust(w) for i,
                           (c, w) in enumerate(zip(row, widths))).rstrip()
                 for row in (header, *rows)]
        return "\n".join([*lines, "", self.summary()])

    def table(self, by: str = "launch", limit: int | None = None,
              depth: int | None = None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """(header, rows) of `text`, as cells."""
        total = self.kernel_seconds or 1.0
        if by == "launch":
            kept = self.rows if limit is None else sorted(sorted(self.rows, key=lambda r: -r.seconds)[:limit],
                                                          key=lambda r: r.launch)
            return (("launch", "runs", *_FIGURES, "bound", "kernel"),
                    [(str(r.launch), str(r.count), *_figures(r, total), r.bound or "-",
                      f"{r.kernel}  {r.line}".rstrip()) for r in kept])
        return (("launches", *_FIGURES, by), [(str(p.launches), *_figures(p, total), p.name or "(no name)")
                                              for p in self.parts(by, depth)[:limit]])

    def summary(self) -> str:
        """The whole in one line."""
        host = max(0.0, self.call_seconds - self.kernel_seconds)
        ending = " (interrupted)" if self.is_interrupted else ""
        text = (f"call {format_seconds(self.call_seconds)}: kernels {format_seconds(self.kernel_seconds)}, "
                f"between them {format_seconds(host)}; {self.runs} runs{ending}, measuring costs {self.overhead:.1%}")
        if self.roofline is not None:
            text += (f"; roofline: {self.roofline.flops['float32'] / 1e9:.0f} GFLOP/s in float32, "
                     f"{self.roofline.bandwidth[-1][1] / 1e9:.1f} GB/s from memory")
        return text

    def to_json(self) -> dict:
        """All of it as JSON data; times in seconds, `share` of the roofline null where it is not known."""
        roofline = self.roofline
        return {"name": self.name, "threads": self.threads, "runs": self.runs, "interrupted": self.is_interrupted,
                "call_seconds": self.call_seconds, "kernel_seconds": self.kernel_seconds, "overhead": self.overhead,
                "roofline": None if roofline is None else {"flops": roofline.flops,
                                                           "bandwidth": [list(b) for b in roofline.bandwidth]},
                "launches": [asdict(r) | {"flops_per_second": r.flops_per_second,
                                          "bytes_per_second": r.bytes_per_second} for r in self.rows],
                "lines": [asdict(p) for p in self.parts("line")], "layers": [asdict(p) for p in self.parts("layer")]}

    # ---- the trace ---------------------------------------------------------------------------------------------------
    def trace(self) -> dict:
        """The fastest measured run in the Trace Event Format of Chrome, which Perfetto opens: a track of kernels, one
        of layers."""
        events: list[dict] = [_named("process_name", 0, self.name), _named("thread_name", 0, "kernels"),
                              _named("thread_name", 1, "layers")]
        open_layer: dict | None = None
        for launch, begin, end in self.events.tolist():
            row = self.rows[launch]
            arguments = {"launch": launch, "kernel": row.kernel, "line": row.line,
                         "GFLOP/s, median": round(row.flops_per_second / 1e9, 3),
                         "GB/s, median": round(row.bytes_per_second / 1e9, 3)}
            arguments |= {} if row.share is None else {"share of the roofline": round(row.share, 3), "bound": row.bound}
            events.append({"name": row.label or row.kernel, "cat": "kernel", "ph": "X", "pid": 0, "tid": 0,
                           "ts": begin / 1e3,
                           "dur": (end - begin) / 1e3, "args": arguments})
            if open_layer is not None and open_layer["name"] == row.layer:
                open_layer["dur"] = end / 1e3 - open_layer["ts"]
            elif row.layer:
                open_layer = {"name": row.layer, "cat": "layer", "ph": "X", "pid": 0, "tid": 1, "ts": begin / 1e3,
                              "dur": (end - begin) / 1e3}
                events.append(open_layer)
            else:
                open_layer = None
        return {"traceEvents": events, "displayTimeUnit": "ns",
                "otherData": {"model": self.name, "threads": self.threads, "events left out": self.missing_events}}

    def save_trace(self, path) -> None:
        """Write the trace to a file, whole or not at all."""
        with written_whole(path, durable=False) as file:
            file.write(json.dumps(self.trace()).encode())


_FIGURES = ("time", "%", "GFLOP/s", "GB/s", "roofline")


def _figures(row: Row | Part, total: float) -> tuple[str, ...]:
    rates = (f"{row.flops / row.seconds / 1e9:.1f}", f"{row.bytes / row.seconds / 1e9:.1f}") if row.seconds else ("-",
                                                                                                                  "-")
    share = "-" if row.share is None else f"{100 * row.share:.0f}%"
    return format_seconds(row.seconds), f"{100 * row.seconds / total:.1f}", *rates, share


def _key(row: Row, by: str, depth: int | None) -> str:
    if by == "layer":
        return "/".join(row.layer.split("/")[:depth])
    if by not in ("line", "kernel"):
        raise ValueError(f'{by!r} is none of "launch", "kernel", "line", "layer"')
    return row.line if by == "line" else row.kernel


def _part(name: str, rows: list[Row]) -> Part:
    seconds = sum(r.seconds for r in rows)
    known = seconds > 0 and all(r.share is not None or not r.seconds for r in rows)
    share = sum(r.share * r.seconds for r in rows if r.share is not None) / seconds if known else None
    return Part(name, len(rows), seconds, sum(r.flops for r in rows), sum(r.bytes for r in rows), share)


def _named(what: str, track: int, name: str) -> dict:
    return {"name": what, "ph": "M", "pid": 0, "tid": track, "args": {"name": name}}


# ---- measuring -------------------------------------------------------------------------------------------------------
class _Record:
    """The words that native code writes while it is measured: the next event and the events' end, ticks and count of
    each launch."""

    def __init__(self, launches: int):
        self.launches = launches
        self.events = np.zeros((0, EVENT_WORDS), np.int64)
        self.words = np.zeros(2 + 2 * launches, np.int64)
        self.address = self.words.ctypes.data

    def clear(self) -> None:
        self.words[:] = 0
        self.words[0] = self.events.ctypes.data
        self.words[1] = self.events.ctypes.data + self.events.nbytes

    @property
    def written(self) -> np.ndarray:
        return self.events[:(int(self.words[0]) - self.events.ctypes.data) // (8 * EVENT_WORDS)]


def measure(executable, arrays, *, threads: int = 0, seconds: float = 1.0, roofline: Roofline | None = None) -> Profile:
    """The Profile of `executable` on `arrays`: for about `seconds`, after two calls that warm up. Ctrl-C ends it early
    with what there is, once each kind of run has been made."""
    manifest = executable.artifact.manifest
    record = _Record(len(manifest["launches"]))
    clock: list[tuple[int,
                      int]] = []  # a measured run's begin: nanoseconds of the system's clock, ticks of the processor's
    plain: list[float] = []
    measured: list[float] = []
    ticks: list[np.ndarray] = []
    best: np.ndarray | None = None
    is_interrupted = False
    with executable.prepared(arrays, threads) as (run, extents):
        run(0)
        record.clear()
        run(record.address)
        counts = record.words[3::2].copy()
        record.events = np.zeros((min(int(counts.sum()), MOST_EVENTS), EVENT_WORDS), np.int64)
        begun = time.perf_counter()
        try:
            while len(plain) < MOST_RUNS:
                passed = time.perf_counter() - begun
                if len(plain) >= LEAST_RUNS and passed >= SPAN and passed >= seconds:
                    break
                before = time.perf_counter_ns()
                run(0)
                between = time.perf_counter_ns()
                record.clear()
                start = time.perf_counter_ns()
                run(record.address)
                end = time.perf_counter_ns()
                plain.append((between - before) * 1e-9)
                measured.append((end - start) * 1e-9)
                ticks.append(record.words[2::2].copy())
                events = record.written
                if len(events):
                    clock.append((start, int(events[0, 1])))
                if measured[-1] == min(measured):
                    best = events.copy()
        except KeyboardInterrupt:
            count = len(ticks)
            if not count:
                raise
            is_interrupted = True
            del plain[count:], measured[count:]
    rate = (clock[-1][0] - clock[0][0]) / (clock[-1][1] - clock[0][1]) if len(clock) > 1 else 0.0  # nanoseconds a tick
    spent = np.array(ticks, np.float64).reshape(len(ticks), -1) * (rate * 1e-9)
    footprint = manifest["cost"]["weight_bytes"] + manifest["cost"]["arena_bytes"]
    rows = tuple(_row(i, launch, extents, int(counts[i]), spent[:, i], footprint, roofline) for i,
                 launch in enumerate(manifest["launches"]))
    if len(best):
        best[:, 1:] = (best[:, 1:] - best[0, 1]) * rate
    return Profile(executable.name, rows, statistics.median(plain), min(measured) / min(plain) - 1, len(plain), threads,
                   roofline, is_interrupted, best,
                   int(counts.sum()) - len(best))


def _row(number: int, launch: dict, extents: dict[str, int], count: int, seconds: np.ndarray, footprint: int,
         roofline: Roofline | None) -> Row:
    flops, nbytes, weights = (extent_of(launch[key], extents) for key in ("flops", "bytes", "weight_bytes"))
    median = float(np.median(seconds))
    bound = share = None
    if roofline is not None and median > 0:
        footprint = footprint if count == 1 else nbytes  # what runs in a loop reads its weights again at once
        least, bound = roofline.seconds(flops, launch["dtype"], nbytes, weights, footprint)
        share = least * count / median
    lines = launch["lines"]
    return Row(number, launch["kernel"], launch["label"], lines[0] if lines else "", launch["layer"], count, median,
               float(seconds.min()),
               flops * count, nbytes * count, bound, share)
