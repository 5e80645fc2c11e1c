"""How do the stages of a compilation look side by side?  One offline HTML page: click a value to follow it through all of them.

The page holds its data as JSON and draws it itself (page.html). Each stage is a column of blocks of lines. What belongs together
carries the same mark: a value has a number of its own (`v`) and one that it shares with values of the same operator and origin in
other stages (`w`); a line has its origin (`l`, a node of the model or a line of the user's code); a block of a kernel has the origins
of all that the kernel computes, and its name (`k`) wherever it is spelled. Marks are CSS classes: following one is a style rule.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from importlib.resources import files

from ...compiler.graph.graph import Graph
from ...compiler.graph.tokens import Tokens
from .levels import GRAPHS, STAGES, Levels

LONGEST = 400  # characters of a line that are shown; a constant's elements can be thousands
_ELEMENTS = re.compile(r"(\](?:\([^(),]*(?:,[^(),]*){0,3}))(?:,[^(),]*)+")  # f32[64](0.5, 1.0, 2.0, ...
DRAWN = 4000  # lines up to which the blocks of a stage are open at first


class _Numbers(dict):
    """A number for each key, in order of first use."""

    def __missing__(self, key) -> int:
        self[key] = len(self)
        return self[key]


def page(levels: Levels, title: str) -> str:
    """The page of all stages. A stage that fails shows its error in its column."""
    data = page_data(levels, title)
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # nothing in a model can end the script element
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    before, rest = template.split("{title}")
    between, after = rest.split("{data}")
    return "".join((before, html.escape(title), between, text, after))


def page_data(levels: Levels, title: str) -> dict:
    """What the page draws: {"title", "facts", "stages": [{"name", "open", "blocks": [block]}], "marks", "origins"}.

    A block is {"title", "marks", "lines": [[text, marks, spans]], "folds"}; spans are start, length and marks of parts of the text,
    flattened; marks are numbers into the list of class names. "origins" are the locations that the marks l0, l1 ... stand for.
    """
    builder = _Page(levels)
    stages = []
    for stage in STAGES:
        try:
            shown = levels.graph(stage) if stage in GRAPHS else levels.sections(stage)
        except Exception as error:  # the page is for looking at failures, too
            blocks = [{"title": type(error).__name__, "marks": [], "lines": [[line, [], []] for line in str(error).splitlines()]}]
        else:
            blocks = [builder.graph(stage, shown)] if stage in GRAPHS else builder.texts(stage, shown)
        total = sum(len(b["lines"]) for b in blocks)
        stages.append({"name": stage, "open": total <= DRAWN, "blocks": blocks})
    return {"title": title, "facts": builder.facts(), "stages": stages, "marks": list(builder.marks), "origins": list(builder.origins)}


class _Page:
    def __init__(self, levels: Levels):
        self.levels = levels
        self.marks = _Numbers()
        self.origins = _Numbers()
        self.kinds = _Numbers()
        self.values = 0

    def facts(self) -> str:
        """A line about the whole: kernels, launches, memory."""
        try:
            from ...compiler.plan.program import walk_launches
            program = self.levels.program
            launches = sum(1 for _ in walk_launches(program.steps))
        except Exception:  # told in the columns
            return ""
        plan = program.plan
        return (f"{len(program.kernels)} kernels, {launches} launches, arena {plan.arena_bytes:,} bytes (lower bound {plan.lower_bound:,}), "
                f"weights {sum(c.nbytes for c in program.constants):,} bytes, {self.levels.target.name}")

    def mark(self, kind: str, number: int) -> int:
        return self.marks[f"{kind}{number}"]

    # ---- graphs -------------------------------------------------------------------------------------------------------
    def kernels_by_location(self) -> dict[tuple[str, str], list[int]]:
        """The numbers of the kernels that a group of this location and label became."""
        from ...compiler.plan.program import walk_launches
        found: dict[tuple[str, str], list[int]] = {}
        try:
            for launch in walk_launches(self.levels.program.steps):
                found.setdefault((str(launch.location or ""), launch.label), []).append(launch.kernel)
        except Exception:  # told in the column of the kernels
            return {}
        return found

    def graph(self, stage: str, graph: Graph) -> dict:
        """The one block of a graph: its text with the marks of values and lines. "folds" are (first, last) lines of graphs inside."""
        text = str(graph)
        kernels = self.kernels_by_location() if stage == "fused" else {}
        lines = text.rstrip("\n").split("\n")
        starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
        out = [[_cut(line), [], []] for line in lines]
        nodes = iter(_printed(graph))
        scopes: list[tuple[int, int, dict[str, list[int]]]] = []  # depth of its brace, its first row, marks of each name
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
                    scope[token] = self.definition(token, None if pending is not None else nodes, is_outer=not scopes)
                column = start - starts[row]
                if column + len(token) <= LONGEST - 120:
                    out[row][2] += [column, len(token), scope[token]]
        for line, shown in zip(lines, out):
            self.mark_line(line, shown[1], kernels)
        for first, last in zip(folds[::2], folds[1::2]):
            out[first][1] += [m for m in out[last][1] if m not in out[first][1]]
        return {"title": stage, "marks": [], "lines": out, "folds": folds}

    def definition(self, token: str, nodes, is_outer: bool) -> list[int]:
        """The marks of a value at its first mention: as a parameter (`nodes` is None), or as the next result of `nodes`."""
        self.values += 1
        own = self.mark("v", self.values)
        if nodes is None:
            return [own, self.mark("w", self.kinds["parameter", token])] if is_outer else [own]
        op, location = next(nodes)
        return [own, self.mark("w", self.kinds[op, location])] if location else [own]

    def mark_line(self, line: str, marks: list[int], kernels: dict) -> None:
        """The line of a node carries its origin; that of a group also its kernels."""
        origin = _origin(line)
        if origin:
            marks.append(self.mark("l", self.origins[origin]))
        label = re.search(r'label="([^"]*)"', line) if kernels else None
        for kernel in kernels.get((origin, label.group(1)), ()) if label else ():
            marks.append(self.mark("k", kernel))

    # ---- text ---------------------------------------------------------------------------------------------------------
    def texts(self, stage: str, sections: list[tuple[str, str]]) -> list[dict]:
        """A block for each kernel or module, marked with its kernel and the origins of what that computes."""
        levels = self.levels
        origins = levels.fused_locations()
        names: dict[str, list[int]] = {}
        for number, kernel in enumerate(levels.program.kernels):
            names.setdefault(kernel.name, []).append(number)
        if stage in ("llvm", "asm"):
            for number, module in enumerate(levels.kernel_modules()):
                names.setdefault(module, []).append(number)
        spelled = re.compile(r"(?<![\w.])(?:" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")(?![\w])") if names else None
        blocks = []
        for title, text in sections:
            numbers = names.get(title, [])
            marks = [self.mark("k", n) for n in numbers]
            marks += [self.mark("l", self.origins[o]) for n in numbers for o in origins.get(n, ())]
            lines = []
            for line in text.rstrip("\n").split("\n"):
                spans: list = []
                for match in spelled.finditer(line[:LONGEST - 120]) if spelled else ():
                    spans += [match.start(), len(match.group()), [self.mark("k", n) for n in names[match.group()]]]
                lines.append([_cut(line), [], spans])
            shown = ", ".join(levels.program.kernels[n].name for n in numbers) if stage in ("llvm", "asm") else title
            blocks.append({"title": shown or title, "marks": list(dict.fromkeys(marks)), "lines": lines})
        return blocks


def _cut(line: str) -> str:
    """The line as the page shows it: of a constant's elements the first ones, and of what is still too long the two ends.

    Values stand before attributes, so their places in the line stay.
    """
    line = _ELEMENTS.sub(r"\1, …", line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST - 120]} … {line[-117:]}"


def _origin(line: str) -> str:
    """The location in the comment at the end of a node's line, as `str(Location)` has it."""
    match = re.search(r'  # ((?:[^"#]|"(?:[^"\\]|\\.)*")+)$', line)
    return re.sub(r'node ("(?:[^"\\]|\\.)*")', lambda m: f"node {json.loads(m.group(1))!r}", match.group(1)) if match else ""


def _printed(graph: Graph):
    """(op name, location) of every result in the order in which the text first names it: a node's results stand before its graphs."""
    for node in graph.nodes:
        for _ in node.results:
            yield node.op.name, str(node.location)
        for value in node.op.attributes().values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from _printed(inner)
