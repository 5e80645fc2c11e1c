"""How do the stages of a compilation look side by side?  As columns of text whose parts carry marks (marks.py).

Each stage is a column of blocks of lines. A block of a kernel has the origins of all that the kernel computes, and a
kernel's name carries its mark wherever it is spelled.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Iterator

from ...compiler.graph.graph import Graph
from ...compiler.graph.tokens import Tokens
from .levels import GRAPHS, STAGES, Levels
from .marks import Marks

LONGEST = 400  # characters of a line that are shown; a constant's elements can be thousands
_ELEMENTS = re.compile(r"(\](?:\([^(),]*(?:,[^(),]*){0,3}))(?:,[^(),]*)+")  # f32[64](0.5, 1.0, 2.0, ...
SEVERAL = 4  # constants in a row are folded at first
OPEN = 4000  # lines up to which the blocks of a stage are open at first


class Columns:
    """The stages of `levels` as data, with marks of `marks`; `definitions` keeps the marks of a graph's values, in
    printed order."""

    def __init__(self, levels: Levels, marks: Marks):
        self.levels, self.marks = levels, marks
        self.definitions: dict[str, list[list[int]]] = {}

    @property
    def drawn(self) -> list[str]:
        """The stages whose graphs could be made."""
        return list(self.definitions)

    def stages(self) -> list[dict]:
        """[{"name", "open", "blocks": [block]}], in order. A stage that fails shows its error.

        A block is {"title", "marks", "lines": [[text, marks, spans]], "folds"}; spans are start, length and marks of
        parts of the text, flattened; folds the first and last lines of what can be folded (graphs inside, runs of
        constants), "closed" the first lines of those that are folded at first.
        """
        found = []
        for stage in STAGES:
            try:
                shown = self.levels.graph(stage) if stage in GRAPHS else self.levels.sections(stage)
            except Exception as error:  # the page is for looking at failures, too
                lines = [[line, [], []] for line in str(error).splitlines()]
                blocks = [{"title": type(error).__name__, "marks": [], "lines": lines}]
            else:
                blocks = [self.graph(stage, shown)] if stage in GRAPHS else self.texts(stage, shown)
            found.append({"name": stage, "open": sum(len(b["lines"]) for b in blocks) <= OPEN, "blocks": blocks})
        return found

    # ---- graphs ------------------------------------------------------------------------------------------------------
    def kernels_by_group(self) -> dict[tuple[str, str], list[int]]:
        """The numbers of the kernels that groups of this location and label became, in program order."""
        found: dict[tuple[str, str], dict[int, None]] = {}
        try:
            for launch, _ in self.levels.launches:  # thousands of one line, of an unrolled loop, may share a kernel
                found.setdefault((str(launch.location or ""), launch.label), {})[launch.kernel] = None
        except Exception:  # told in the column of the kernels
            return {}
        return {group: list(kernels) for group, kernels in found.items()}

    def graph(self, stage: str, graph: Graph) -> dict:
        """The one block of a graph: its text with the marks of values and lines. "folds" are (first, last) lines of
        graphs inside."""
        text = str(graph)
        definitions = self.definitions[stage] = []
        kernels = self.kernels_by_group() if stage == "fused" else {}
        lines = text.rstrip("\n").split("\n")
        starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
        out = [[_cut(line), [], []] for line in lines]
        nodes = iter(_printed(graph))
        scopes: list[tuple[int, int, dict]] = []  # depth of its brace, its first row, marks of each name
        folds: list[int] = []
        depth, row, pending = 0, 0, None
        tokens = Tokens(text).tokens
        for i, (kind, token, start, _) in enumerate(tokens):
            while row + 1 < len(lines) and start >= starts[row + 1]:
                row += 1
            if kind == "name" and token == "graph" and tokens[i + 2][1] == "(":
                pending = (row, {})
            elif kind == "sign" and token == "{":
                depth += 1
                if pending is not None:
                    scopes.append((depth, *pending))
                    pending = None
            elif kind == "sign" and token == "}":
                if scopes and scopes[-1][0] == depth:
                    first = scopes.pop()[1]
                    if scopes:
                        folds += [first, row]
                depth -= 1
            elif kind == "value":
                scope = pending[1] if pending is not None else scopes[-1][2]
                if token not in scope:
                    made_by = None if pending is not None else nodes
                    scope[token] = self.definition(definitions, token, made_by, is_outer=not scopes)
                column = start - starts[row]
                if column + len(token) <= LONGEST - 120:
                    out[row][2] += [column, len(token), scope[token]]
        for line, shown in zip(lines, out):
            self.mark_line(line, shown[1], kernels)
        for first, last in zip(folds[::2], folds[1::2]):  # a group stands for all that is in it
            out[first][1][:] = dict.fromkeys(m for row in (first, last, *range(first + 1, last)) for m in out[row][1])
        runs = list(_runs_of_constants(lines))
        return {"title": stage, "marks": [], "lines": out, "folds": folds + [row for run in runs for row in run],
                "closed": [first for first, _ in runs]}

    def definition(self, definitions: list, token: str, nodes, is_outer: bool) -> list[int]:
        """The marks of a value at its first mention: as a parameter (`nodes` is None), or as the next result of
        `nodes`."""
        if nodes is None:
            return self.marks.value("parameter", token) if is_outer else self.marks.value()
        op, location = next(nodes)
        definitions.append(self.marks.value(op, location) if location else self.marks.value())
        return definitions[-1]

    def mark_line(self, line: str, marks: list[int], kernels: dict) -> None:
        """The line of a node carries its origin; that of a group also its kernels."""
        origin = _origin(line)
        if origin:
            marks.append(self.marks.origin(origin))
        label = re.search(r'label="([^"]*)"', line) if kernels else None
        for kernel in kernels.get((origin, label.group(1)), ()) if label else ():
            marks.append(self.marks.kernel(kernel))

    # ---- text --------------------------------------------------------------------------------------------------------
    def texts(self, stage: str, sections: list[tuple[str, str]]) -> list[dict]:
        """A block for each kernel or module, marked with its kernel and the origins of what that computes."""
        levels = self.levels
        origins = levels.fused_locations
        names: dict[str, list[int]] = {}
        for number, kernel in enumerate(levels.program.kernels):
            names.setdefault(kernel.name, []).append(number)
        if stage in ("llvm", "asm"):
            for number, module in enumerate(levels.kernel_modules()):
                names.setdefault(module, []).append(number)
        longest_first = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        spelled = re.compile(rf"(?<![\w.])(?:{longest_first})(?!\w)") if names else None
        blocks = []
        for title, text in sections:
            numbers = names.get(title, [])
            marks = [self.marks.kernel(n) for n in numbers]
            marks += [self.marks.origin(o) for n in numbers for o in origins.get(n, ())]
            lines = []
            for line in text.rstrip("\n").split("\n"):
                spans: list = []
                for match in spelled.finditer(line[:LONGEST - 120]) if spelled else ():
                    spans += [match.start(), len(match.group()), [self.marks.kernel(n) for n in names[match.group()]]]
                lines.append([_cut(line), [], spans])
            shown = ", ".join(levels.program.kernels[n].name for n in numbers) if stage in ("llvm", "asm") else title
            blocks.append({"title": shown or title, "marks": list(dict.fromkeys(marks)), "lines": lines})
        return blocks


def _cut(line: str) -> str:
    """The line as the page shows it: of a constant's elements the first ones, and of what is still too long the two
    ends.

    Values stand before attributes, so their places in the line stay.
    """
    line = _ELEMENTS.sub(r"\1, …", line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST - 120]} … {line[-117:]}"


def _runs_of_constants(lines: list[str]) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of lines in which constants follow each other, where there are several."""
    first = None
    for row, line in enumerate((*lines, "")):
        is_constant = re.match(r"\s*%\S+ = constant \{", line) is not None
        if is_constant and first is None:
            first = row
        elif not is_constant and first is not None:
            if row - first >= SEVERAL:
                yield first, row
            first = None


def _origin(line: str) -> str:
    """The location in the comment at the end of a node's line, as `str(Location)` has it."""
    match = re.search(r'  # (?:backward of \w+ at )?((?:[^"#]|"(?:[^"\\]|\\.)*")+)$', line)
    if match is None:
        return ""
    return re.sub(r'node ("(?:[^"\\]|\\.)*")', lambda m: f"node {json.loads(m.group(1))!r}", match.group(1))


def _printed(graph: Graph):
    """(op name, location) of every result in the order in which the text first names it: a node's results stand before
    its graphs."""
    for node in graph.nodes:
        for _ in node.results:
            yield node.op.name, str(node.location)
        for value in node.op.attributes().values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from _printed(inner)
