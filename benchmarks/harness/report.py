"""What came out?  The tables of a comparison: times, ratios to the best peer, errors, start-up and memory."""

from __future__ import annotations

from collections.abc import Callable

from .compare import Result
from .correctness import TOLERANCE
from .statistics import geometric_mean
from .table import format_error, format_megabytes, format_ratio, format_seconds, format_table, format_time
from .workloads import CALL_OVERHEAD, KERNELS

REFERENCE_PEER = "onnxruntime"
# The machine's drift within one interleaved run: ratios closer to 1 are called ties.
TIE = 0.03

Grid = dict[str, dict[str, Result]]


def group(results: list[Result], threads: int) -> Grid:
    """{workload: {contender: result}} of one thread count, in order of appearance, the call overhead left out."""
    grid: Grid = {}
    for result in results:
        if result.threads == threads and result.workload != CALL_OVERHEAD:
            grid.setdefault(result.workload, {})[result.contender] = result
    return grid


def is_valid(result: Result | None) -> bool:
    """Whether the result has a time, and an output that is right where a reference exists."""
    return (result is not None and result.seconds is not None
            and (result.relative_error is None or result.relative_error <= TOLERANCE))


def best_peer(row: dict[str, Result], subject: str) -> Result | None:
    """The fastest contender other than the subject whose output is right."""
    peers = [result for name, result in row.items() if name != subject and is_valid(result)]
    return min(peers, key=lambda result: result.seconds, default=None)


def ratio(row: dict[str, Result], subject: str, peer: Result | None) -> float | None:
    """Subject's time divided by the peer's (below 1 the subject is faster), None if either has no valid time."""
    ours = row.get(subject)
    return ours.seconds / peer.seconds if is_valid(ours) and is_valid(peer) else None


def summarize_ratios(grid: Grid, subject: str) -> dict[str, float | int | None]:
    """Geometric means of the ratios to the best peer and to onnxruntime; wins, ties and losses to the best peer."""
    best = [r for row in grid.values() if (r := ratio(row, subject, best_peer(row, subject))) is not None]
    reference = [r for row in grid.values() if (r := ratio(row, subject, row.get(REFERENCE_PEER))) is not None]
    return {
        "to_best_peer": geometric_mean(best), f"to_{REFERENCE_PEER}": geometric_mean(reference),
        "wins": sum(r < 1 - TIE for r in best), "ties": sum(1 - TIE <= r <= 1 + TIE for r in best),
        "losses": sum(r > 1 + TIE for r in best), "workloads": len(grid),
        "without_result": sum(not is_valid(row.get(subject)) for row in grid.values()),
    }


def time_table(grid: Grid, subject: str, contenders: list[str]) -> str:
    """Milliseconds per contender (* the fastest, ~ disturbed samples, ! wrong output) and the subject's ratios."""
    with_reference = subject != REFERENCE_PEER and REFERENCE_PEER in contenders
    header = ["ms", *contenders, f"{subject} / best peer"] + [f"{subject} / {REFERENCE_PEER}"] * with_reference
    rows = []
    for workload, row in grid.items():
        valid = [result.seconds for result in row.values() if is_valid(result)]
        cells = [_time_cell(row.get(name), min(valid, default=None)) for name in contenders]
        ratios = [format_ratio(ratio(row, subject, best_peer(row, subject)))]
        ratios += [format_ratio(ratio(row, subject, row.get(REFERENCE_PEER)))] * with_reference
        rows.append([workload, *cells, *ratios])
    summary = summarize_ratios(grid, subject)
    means = [format_ratio(summary["to_best_peer"])] + [format_ratio(summary[f"to_{REFERENCE_PEER}"])] * with_reference
    rows.append(["geometric mean", *[""] * len(contenders), *means])
    count = (f"{subject} against the best peer: {summary['wins']} wins, {summary['ties']} ties (within {TIE:.0%}), "
             f"{summary['losses']} losses, {summary['without_result']} of {summary['workloads']} without a valid result")
    return format_table(header, rows) + "\n\n" + count


def rate_table(grid: Grid, contenders: list[str]) -> str:
    """What the kernels reach: GFLOP/s where there is arithmetic to count, else GB/s of the bytes that must move."""
    rows = []
    for workload, row in grid.items():
        kernel = KERNELS[workload]
        work, unit = (kernel.flops, "GFLOP/s") if kernel.flops else (kernel.bytes, "GB/s")
        rates = [f"{work / row[name].seconds / 1e9:.1f}" if is_valid(row.get(name)) else "-" for name in contenders]
        rows.append([workload, unit, *rates])
    return format_table(["kernel", "unit", *contenders], rows)


def heuristic_table(grid: Grid, contenders: list[str]) -> str:
    """How far the first contender, which schedules by heuristics, is from the second, which measured: by their fastest
    calls, since what disturbs a call only makes it slower."""
    usual, tuned = contenders
    rows, ratios = [], []
    for workload, row in grid.items():
        if not (is_valid(row.get(usual)) and is_valid(row.get(tuned))):
            continue
        times = [row[name].summary.minimum for name in (usual, tuned)]
        ratios.append(times[0] / times[1])
        rows.append([workload, *map(format_time, times), format_ratio(ratios[-1])])
    rows.append(["geometric mean", "", "", format_ratio(geometric_mean(ratios))])
    return format_table(["ms, fastest call", "heuristic", "tuned", "heuristic / tuned"], rows)


def quantity_table(grid: Grid, contenders: list[str], title: str, cell: Callable[[Result], str]) -> str:
    """One quantity of every result, a row per workload."""
    rows = [[workload, *(cell(row[name]) if name in row else "-" for name in contenders)]
            for workload, row in grid.items()]
    return format_table([title, *contenders], rows)


def side_tables(grid: Grid, contenders: list[str]) -> str:
    """Errors, start-up and memory, as they were seen while the times were taken."""
    quantities = [
        ("relative error", lambda result: format_error(result.relative_error)),
        ("cold s (model file to first result)", lambda result: format_seconds(result.cold_seconds)),
        ("peak RSS MB (to first result)", lambda result: format_megabytes(result.peak)),
    ]
    return "\n\n".join(quantity_table(grid, contenders, title, cell) for title, cell in quantities)


def overhead_line(results: list[Result], threads: int) -> str:
    """Microseconds of a call that has nothing to compute, per contender."""
    rows = [result for result in results if result.threads == threads and result.workload == CALL_OVERHEAD]
    costs = [f"{result.contender} {result.seconds * 1e6:.1f}" for result in rows if result.seconds is not None]
    return "Call overhead, µs (one addition on one number): " + ", ".join(costs)


def failure_lines(results: list[Result]) -> str:
    """One line per result that is missing or wrong, with the reason; empty if there is none."""
    lines = []
    for result in results:
        if result.error:
            reason = result.error.strip().splitlines()[0][:200]
        elif not is_valid(result):
            reason = f"wrong output, relative error {format_error(result.relative_error)}"
        else:
            continue
        lines.append(f"- {result.workload}, {result.threads} thread(s), {result.contender}: {reason}")
    return "\n".join(lines)


def _time_cell(result: Result | None, fastest: float | None) -> str:
    if result is None or result.seconds is None:
        return "failed" if result is not None and result.error else "-"
    marks = "" if is_valid(result) else "!"
    marks += "~" if result.summary.is_disturbed else ""
    marks += "*" if result.seconds == fastest else ""
    return format_time(result.seconds) + marks
