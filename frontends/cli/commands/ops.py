"""lamina ops: which operators are there?"""

from __future__ import annotations

from ..parser import OK

SUMMARY = "the operators of the graph, or with --onnx those of ONNX that lamina imports"
EXAMPLES = """
lamina ops                       the operators, the dtypes that each is tested with, what it means
lamina ops | grep float16
lamina ops --onnx                every ONNX operator: from which version on, or not
lamina ops --onnx --json | jq '.operators[] | select(.since == null) | .name'
"""


def configure(parser) -> None:
    """The arguments of the command."""
    parser.add_argument("--onnx", action="store_true", help="the coverage of ONNX instead")


def run(arguments, console) -> int:
    """Print the registry, or the coverage table."""
    if arguments.onnx:
        return run_onnx(console)
    rows = registry()
    if console.json:
        console.result("ops", {"operators": rows})
    else:
        console.table(("operator", "dtypes", "meaning"), [(r["name"], " ".join(r["dtypes"]), r["meaning"]) for r in rows])
    return OK


def registry() -> list[dict]:
    """Every registered op: its name, the dtypes of the operands that its samples are tested with, its docstring's first line."""
    from ....compiler import ops
    from ....compiler.core.dtypes import ALL, as_dtype
    order = {dtype.short: i for i, dtype in enumerate(ALL)}
    rows = []
    for name, op in sorted(ops.REGISTRY.items()):
        samples = op.samples()
        dtypes = {as_dtype(a.dtype).short for s in samples for a in s.arrays}
        rows.append({"name": name, "dtypes": sorted(dtypes, key=order.__getitem__), "meaning": first_line(op.__doc__)})
    return rows


def first_line(doc: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((doc or "").split("\n\n")[0].split())
    return text


def run_onnx(console) -> int:
    """Print what of ONNX is imported."""
    rows = coverage()
    known = [r for r in rows if r["is_onnx"]]
    done = [r for r in known if r["since"] is not None]
    if console.json:
        console.result("ops", {"imported": len(done), "of": len(known), "operators": rows})
        return OK
    console.table(("operator", "lamina imports", "meaning in ONNX"),
                  [(r["name"], "no" if r["since"] is None else f"{'all versions' if r['since'] == 1 else 'from ' + str(r['since'])}"
                    + (" (as its ONNX function)" if r["by_function"] else ""), r["meaning"]) for r in rows])
    console.note(f"{len(done)} of the {len(known)} operators of ONNX {onnx_version()}")
    return OK


def onnx_version() -> str:
    """The version of the onnx package, whose operators are counted."""
    import onnx
    return onnx.__version__


def coverage() -> list[dict]:
    """Each operator of the main ONNX domain, and those of other domains that lamina knows: since which version it is imported."""
    import onnx
    from ...onnx.table import names, versions
    table = {key: min(o.since for o in versions(*key)) for key in names()}
    latest: dict[str, object] = {}
    for schema in onnx.defs.get_all_schemas():
        if schema.domain == "" and not schema.deprecated:
            latest[schema.name] = schema
    rows = []
    for name, schema in sorted(latest.items()):
        since = table.pop(("", name), None)
        by_function = since is None and (schema.has_function or schema.has_context_dependent_function)
        rows.append({"name": name, "since": schema.since_version if by_function else since, "by_function": by_function, "is_onnx": True,
                     "meaning": sentence(schema.doc)})
    rows += [{"name": f"{domain}.{name}".lstrip("."), "since": since, "by_function": False, "is_onnx": False, "meaning": ""}
             for (domain, name), since in sorted(table.items())]
    return rows


def sentence(doc: str) -> str:
    """The first sentence of an ONNX operator's documentation, cut to a line."""
    text = " ".join((doc or "").split())
    text = text.split(". ")[0].rstrip(".")
    return text if len(text) <= 70 else text[:69] + "…"
