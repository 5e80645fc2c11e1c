"""What takes memory, and when?  The arena's live ranges, drawn as text and as SVG, beside the least that they need."""

from __future__ import annotations

import html
import zlib
from dataclasses import dataclass
from functools import cached_property

from .amounts import format_bytes

HEIGHTS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, LEFT, TOP = 1100, 480, 90, 40  # of the drawing, in pixels; where the arena's corner lies


@dataclass(frozen=True)
class Bar:
    """A slot as it is drawn: its label, where it comes from, and a cell for each column of time."""

    bytes: int
    label: str
    location: str
    cells: str
    is_at_peak: bool


class MemoryReport:
    """The memory of an executable, in bytes, for the largest declared extents.

    arena_bytes     what one call takes for values between kernels; `lower_bound` is the most that is live at one step
    peak_step       the step at which that is
    slots           the arena's parts in program order: label, offset, bytes, location, and the steps `first` to `last`
    weight_bytes, input_bytes, output_bytes     what lies outside of the arena
    """

    def __init__(self, manifest: dict):
        plan, cost = manifest["memory"], manifest["cost"]
        self.name: str = manifest["name"]
        self.arena_bytes: int = plan["arena_bytes"]
        self.lower_bound: int = plan["lower_bound"]
        self.peak_step: int = plan["peak_step"]
        self.slots: list[dict] = plan["slots"]
        self.weight_bytes: int = cost["weight_bytes"]
        self.input_bytes: int = cost["input_bytes"]
        self.output_bytes: int = cost["output_bytes"]
        self.labels: dict[int, str] = {launch["step"]: launch["label"] for launch in manifest["launches"]}

    @property
    def owners(self) -> list[dict]:
        """The slots that are live at the peak, the largest first."""
        return sorted((s for s in self.slots if s["first"] <= self.peak_step <= s["last"]), key=lambda s: -s["bytes"])

    @cached_property
    def span(self) -> tuple[int, int]:
        """The first and the last step at which anything is live, or runs."""
        steps = [*self.labels, *(s["first"] for s in self.slots), *(s["last"] for s in self.slots)]
        return min(steps, default=0), max(steps, default=0)

    @cached_property
    def live(self) -> list[int]:
        """The bytes that are live at each step of the span."""
        first, last = self.span
        change = [0] * (last - first + 2)
        for slot in self.slots:
            change[slot["first"] - first] += slot["bytes"]
            change[slot["last"] + 1 - first] -= slot["bytes"]
        total, found = 0, []
        for c in change[:-1]:
            total += c
            found.append(total)
        return found

    # ---- as text -----------------------------------------------------------------------------------------------------
    def summary(self) -> list[str]:
        """The totals, one a line."""
        above = self.arena_bytes - self.lower_bound
        beside = "exactly" if above <= 0 else f"{format_bytes(above)} above"
        return [f"arena: {self.arena_bytes} bytes ({format_bytes(self.arena_bytes)}), {beside} what is live "
                f"at the peak ({self.lower_bound} bytes)",
                *(f"{what}: {size} bytes ({format_bytes(size)})" for what, size in
                  (("weights", self.weight_bytes), ("inputs", self.input_bytes), ("outputs", self.output_bytes)))]

    def curve(self, columns: int) -> str:
        """The live bytes over time: a character for each column, full height for the whole arena."""
        most = max(self.arena_bytes, *self.live, 1)
        return "".join(HEIGHTS[-(-max(self.live[a:b]) * (len(HEIGHTS) - 1) // most)] for a, b in self._columns(columns))

    def bars(self, columns: int, limit: int | None = None) -> list[Bar]:
        """The slots as bars over time, in order of their beginning; the `limit` largest."""
        first = self.span[0]
        parts = self._columns(columns)

        def cells(slot: dict) -> str:
            begin, end = slot["first"] - first, slot["last"] - first
            return "".join("█" if a <= end and begin < b else "·" for a, b in parts)
        kept = sorted(self.slots, key=lambda s: -s["bytes"])[:limit]
        return [Bar(s["bytes"], s["label"], s["location"], cells(s), s["first"] <= self.peak_step <= s["last"])
                for s in sorted(kept, key=lambda s: (s["first"], s["offset"]))]

    def peak_column(self, columns: int) -> int:
        """The column in which the peak lies."""
        at = self.peak_step - self.span[0]
        return next((i for i, (a, b) in enumerate(self._columns(columns)) if a <= at < b), 0)

    def _columns(self, columns: int) -> list[tuple[int, int]]:
        """The steps [a, b) of each column: no more columns than steps."""
        count = len(self.live)
        columns = max(1, min(columns, count))
        return [(i * count // columns, (i + 1) * count // columns) for i in range(columns)]

    def text(self, columns: int = 60, limit: int | None = 40) -> str:
        """The totals, the live ranges of the `limit` largest slots over time (`*` marks those of the peak), and who
        owns the peak."""
        lines = self.summary()
        if not self.slots:
            return "\n".join(lines)
        bars = self.bars(columns, limit)
        labels = [shortened(b.label, 36) for b in bars]
        width = max(map(len, labels))
        lines += ["",
                  " " * (width + 14 + self.peak_column(columns))
                  + f"▼ step {self.peak_step}: {self.labels.get(self.peak_step, '')}",
                  f"{'live':>{width + 11}}  {self.curve(columns)}"]
        lines += [f"{label:<{width}} {format_bytes(b.bytes):>10}{'*' if b.is_at_peak else ' '} {b.cells}".rstrip()
                  for label, b in zip(labels, bars)]
        lines += [f"{len(self.slots) - len(bars)} smaller slots are not shown"] * (len(bars) < len(self.slots))
        lines += ["", f"live at the peak, step {self.peak_step}:"]
        lines += [f"{s['bytes']:>14} bytes  {s['label']}{'  ' + s['location'] if s['location'] else ''}"
                  for s in self.owners]
        return "\n".join(lines)

    # ---- as a drawing ------------------------------------------------------------------------------------------------
    def svg(self) -> str:
        """The arena over time as an SVG document: a rectangle for each slot, from its offset up and from its first step
        to its last, with what it holds as a tooltip; the live bytes as a line, the peak and the lower bound."""
        first, last = self.span
        most = max(self.arena_bytes, 1)

        def x(step: float) -> float:
            return LEFT + (step - first) * WIDTH / (last - first + 1)

        def y(offset: float) -> float:
            return TOP + HEIGHT * (1 - offset / most)
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{HEIGHT + TOP + 60}" '
               f'viewBox="0 0 {WIDTH + LEFT + 20} {HEIGHT + TOP + 60}" font-family="sans-serif" font-size="12">',
               '<rect width="100%" height="100%" fill="white"/>', _words(LEFT, 20, f"{self.name}: {self.summary()[0]}")]
        for slot in self.slots:
            hue = zlib.crc32(slot["label"].encode()) % 360
            begin, end = x(slot["first"]), x(slot["last"] + 1)
            top, bottom = y(slot["offset"] + slot["bytes"]), y(slot["offset"])
            is_owner = slot["first"] <= self.peak_step <= slot["last"]
            tip = (f"{slot['label']}: {slot['bytes']} bytes at {slot['offset']}, steps {slot['first']} to "
                   f"{slot['last']}\n{slot['location']}")
            edge = 'stroke="black" stroke-width="1"' if is_owner else 'stroke="gray" stroke-width="0.4"'
            out.append(f'<rect x="{begin:.1f}" y="{top:.1f}" width="{end - begin:.1f}" height="{bottom - top:.1f}" '
                       f'fill="hsl({hue},55%,72%)" {edge}><title>{html.escape(tip)}</title></rect>')
            if end - begin > 8 * len(slot["label"]) and bottom - top > 14:
                out.append(_words(begin + 4, (top + bottom) / 2 + 4, slot["label"]))
        points = " ".join(f"{x(first + i):.1f},{y(n):.1f} {x(first + i + 1):.1f},{y(n):.1f}" for i,
                          n in enumerate(self.live))
        out.append(f'<polyline points="{points}" fill="none" stroke="#c00" stroke-width="1.5">'
                   "<title>live bytes</title></polyline>")
        if self.slots:
            out.append(_line(LEFT, y(self.lower_bound), LEFT + WIDTH, y(self.lower_bound), "lower bound"))
            out.append(_line(x(self.peak_step + 0.5), TOP, x(self.peak_step + 0.5), TOP + HEIGHT, "peak"))
            out.append(_words(x(self.peak_step), TOP + HEIGHT + 36,
                              f"peak: step {self.peak_step} {self.labels.get(self.peak_step, '')}"))
        for part in range(5):
            out.append(_words(4, y(most * part / 4) + 4, format_bytes(most * part // 4)))
            step = first + (last - first) * part // 4
            out.append(_words(x(step), TOP + HEIGHT + 18, f"step {step}", "end" if part == 4 else "start"))
        return "\n".join([*out, "</svg>"]) + "\n"

    def __repr__(self) -> str:
        return (f"<memory: arena {self.arena_bytes:,} bytes, lower bound {self.lower_bound:,} bytes, "
                f"{len(self.slots)} slots>")


def shortened(text: str, width: int) -> str:
    """`text`, cut in its middle where it is longer."""
    return text if len(text) <= width else text[:width - width // 3 - 1] + "…" + text[-(width // 3):]


def _words(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, title: str) -> str:
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="black" stroke-dasharray="4 3">'
            f"<title>{title}</title></line>")
