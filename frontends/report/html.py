"""How does a compilation look?  One offline HTML page: its graph drawn, its stages side by side, its memory, kernels
and remarks.

The page (page/) holds its data compressed and draws it itself; what belongs together carries the same mark (marks.py),
and following a mark lights it up everywhere.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from importlib.resources import files

from ...compiler.ops.constant import Constant
from ...runtime.profile import Profile
from .columns import Columns
from .drawing import Drawing
from .levels import Levels
from .marks import Marks
from .steps import profile_data, remark_data, step_data

SCRIPTS = ("data.js", "follow.js", "columns.js", "layout.js", "graph.js", "memory.js", "kernels.js", "remarks.js",
           "search.js", "main.js")


def page(levels: Levels, title: str, profile: Profile | None = None) -> str:
    """The page of one compilation. A stage that fails shows its error in its column. `profile` measured its program."""
    folder = files(__package__).joinpath("page")

    def read(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")
    parts = {"title": html.escape(title), "style": read("style.css"),
             "data": embedded(page_data(levels, title, profile)), "script": "\n".join(map(read, SCRIPTS))}
    out, rest = [], read("page.html")
    for name in ("title", "style", "data", "script"):
        before, rest = rest.split("{" + name + "}", 1)
        out += [before, parts[name]]
    return "".join((*out, rest))


def embedded(data: dict) -> str:
    """`data` as script elements, one for each part (a stage is one), compressed: a part is unpacked when it is first
    shown."""
    parts = {name: value for name, value in data.items() if name != "stages"}
    parts["stages"] = [{"name": stage["name"], "open": stage["open"], "blocks": len(stage["blocks"]),
                        "lines": sum(len(b["lines"]) for b in stage["blocks"])} for stage in data["stages"]]
    parts |= {f"stage-{stage['name']}": stage["blocks"] for stage in data["stages"]}
    return "\n".join(f'<script type="text/plain" id="data-{name}">{_packed(value)}</script>'
                     for name, value in parts.items())


def _packed(value) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value, separators=(",", ":")).encode())).decode()


def page_data(levels: Levels, title: str, profile: Profile | None = None) -> dict:
    """What the page draws: {"about", "stages", "graphs", "steps", "remarks", "profile", "marks": {"names", "origins"}}.

    "about" has the title and the figures of the whole; "stages" are as Columns has them, "graphs" by stage as Drawing
    has them, "steps" and "profile" as step_data and profile_data have them (None where the model does not compile, or
    was not measured).
    """
    marks = Marks()
    columns = Columns(levels, marks)
    stages = columns.stages()
    kernels = {"fused": columns.kernels_by_group()}
    graphs = {stage: Drawing(marks, columns.definitions[stage], kernels.get(stage, {})).draw(levels.graph(stage))
              for stage in columns.drawn}
    try:
        steps = step_data(levels, marks)
    except Exception:  # told in the columns
        steps = None
    return {"about": about(levels, title, steps), "stages": stages, "graphs": graphs, "steps": steps,
            "remarks": remark_data(levels.remarks, marks),
            "profile": profile_data(profile) if profile is not None else None,
            "marks": {"names": marks.names, "origins": marks.origins}}


def about(levels: Levels, title: str, steps: dict | None) -> dict:
    """The title of the page, and the figures at its top: [name, value, unit] each."""
    figures = [["operators", sum(not isinstance(node.op, Constant) for node in levels.traced.nodes), ""]]
    if steps is not None:
        memory = steps["memory"]
        operations = sum(launch["flops"] for launch in steps["launches"])
        figures += [["kernels", len(steps["kernels"]), ""], ["launches", len(steps["launches"]), ""],
                    ["operations", operations, "FLOP"], ["arena", memory["arena"], "B"],
                    ["lower bound", memory["bound"], "B"], ["weights", memory["weights"], "B"]]
    return {"title": title, "target": levels.target.name, "figures": figures}
