"""What does an artifact say of itself?  The program's signature, memory and launches as plain JSON data."""

from __future__ import annotations

from ..runtime.artifact import FORMAT_VERSION
from .core.dims import UNBOUNDED, Dim, FloorDiv, Symbol, nominal
from .kernel.ir import For, Kernel
from .plan.memory import ALIGNMENT
from .plan.program import Launch, Port, Program, walk_launches
from .plan.work import launch_ops, launch_places, launch_work, total_flops
from .targets.target import Target


def make_manifest(program: Program, target: Target, entry: str, frame: dict, support_exports, modules) -> dict:
    """The manifest of a program: JSON data only (see docs/artifact.md for its fields)."""
    launches = [_launch(launch, program.kernels[launch.kernel]) for launch in walk_launches(program.steps)]
    plan = program.plan
    weight_bytes = sum(c.nbytes for c in program.constants)
    return {
        "format": FORMAT_VERSION, "name": program.name, "entry": entry,
        "target": {"name": target.name, "triple": target.triple, "required": list(target.required)},
        "frame": frame, "support_exports": list(support_exports),
        "inputs": [_port(p) for p in program.inputs], "outputs": [_port(p) for p in program.outputs],
        "symbols": {s.name: [s.lower, None if s.upper >= UNBOUNDED else s.upper, s.multiple] for s in program.symbols},
        "constants": [{"shape": list(c.shape), "dtype": c.dtype.name} for c in program.constants],
        "memory": {"arena_bytes": plan.arena_bytes, "lower_bound": plan.lower_bound, "peak_step": plan.peak_step,
                   "alignment": ALIGNMENT,
                   "slots": [{"label": s.storage.label, "offset": s.offset, "bytes": nominal(s.storage.size),
                              "first": s.storage.first,
                              "last": s.storage.last, "location": _text(s.storage.location)} for s in plan.slots]},
        "launches": launches,
        "cost": {"flops": nominal(total_flops(program.steps)), "weight_bytes": weight_bytes,
                 "arena_bytes": plan.arena_bytes,
                 "kernels": len(program.kernels), "launches": len(launches),
                 "input_bytes": sum(nominal(p.type.nbytes) for p in program.inputs),
                 "output_bytes": sum(nominal(p.type.nbytes) for p in program.outputs)},
    }


def _launch(launch: Launch, kernel: Kernel) -> dict:
    work = launch_work(launch, kernel)
    places = launch_places(launch)
    return {"kernel": kernel.name, "label": launch.label, "kind": launch.group.kind if launch.group is not None else "",
            "number": launch.kernel, "step": launch.step,
            "location": _text(launch.location), "layer": places[0].layer if places else "",
            "lines": [str(p) for p in places],
            "ops": launch_ops(launch),
            "parallel": any(isinstance(s, For) and s.kind == "parallel" for s in kernel.body),
            "dtype": work.dtype.name, "flops": dim_form(work.flops), "bytes": dim_form(work.bytes),
            "weight_bytes": dim_form(work.weight_bytes)}


def _text(location) -> str:
    return str(location) if location is not None else ""


def _port(port: Port) -> dict:
    return {"name": port.name, "dtype": port.type.dtype.name,
            "shape": [d if isinstance(d, int) else str(d) for d in port.type.shape],
            "form": [dim_form(d) for d in port.type.shape], **({} if port.shares is None else {"shares": port.shares})}


def dim_form(d: Dim):
    """A dim as JSON: an int, a symbol's name, or ["sum", [[coefficient, [atoms...]], ...]]; an atom may be ["floordiv",
    form, int]."""
    if isinstance(d, int):
        return d

    def atom(a):
        return a.name if isinstance(a, Symbol) else ["floordiv", dim_form(a.numerator), a.denominator]
    if len(d.terms) == 1 and d.terms[0][1] == 1 and len(d.terms[0][0]) == 1 and not isinstance(d.terms[0][0][0],
                                                                                               FloorDiv):
        return atom(d.terms[0][0][0])
    return ["sum", [[c, [atom(a) for a in monomial]] for monomial, c in d.terms]]
