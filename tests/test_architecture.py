"""Does the code keep the rules of the house: layers, file length, names, docstrings, environment, paths, a light
import?"""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lamina.compiler.ops import REGISTRY
from lamina.compiler.ops.op import Op

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("compiler", "runtime", "frontends")
LONGEST = 510  # lines of a file: about 500
HEAVY = ("llvmlite", "networkx", "onnx", "rich", "ml_dtypes", "torch", "platformdirs", "safetensors")

#: Which layers each layer may import besides itself. An entry such as "lower.math" opens one part of a layer.
LAYERS = {
    "compiler.core": (),
    "compiler.graph": ("core",),
    "compiler.kernel": ("core",),
    "compiler.ops": ("core", "graph", "kernel"),
    "compiler.rewrites": ("core", "graph", "ops"),
    "compiler.transforms": ("core", "graph", "ops", "rewrites"),
    "compiler.targets": ("core", "kernel", "runtime.cpu_features"),
    "compiler.lower": ("core", "graph", "kernel", "ops", "targets"),
    "compiler.templates": ("core", "graph", "kernel", "ops", "targets", "lower"),
    "compiler.passes": ("core", "graph", "kernel", "ops", "rewrites", "transforms", "targets", "lower", "templates"),
    "compiler.plan": ("core", "graph", "kernel", "ops", "targets", "lower"),
    "compiler.schedule": ("core", "graph", "kernel", "ops", "targets", "templates", "passes", "plan",
                          "runtime.artifact"),
    "compiler.codegen": ("core", "kernel", "targets", "plan", "lower.math", "runtime.artifact"),
    "compiler.manifest": ("core", "kernel", "targets", "plan", "runtime.artifact"),
    "compiler.pipeline": ("core", "graph", "targets", "transforms", "passes", "plan"),
    "compiler.observer": ("core", "graph", "plan", "runtime.artifact"),
    "compiler.check": ("core", "graph", "ops", "plan", "observer", "runtime.artifact"),
    "compiler.driver": ("core", "graph", "kernel", "targets", "transforms", "plan", "schedule", "codegen", "manifest",
                        "pipeline", "observer", "check", "runtime.artifact"),
    "runtime": (),
    "frontends": ("compiler", "runtime"),
}

#: Imports against the layers, each with its reason. Those of LATE stand inside functions: the layers still load in
#: order.
LATE = {
    ("compiler/graph/builder.py", "compiler.ops"): "the builder makes and folds constants, which are an op",
    ("compiler/graph/text.py", "compiler.ops"): "text names ops, which are found in their registry",
    ("compiler/lower/group.py", "compiler.templates"): "it picks the template; templates use the loops beside it",
}
EARLY = {
    ("runtime/errors.py", "compiler.core"): "the compiler's own errors where it is installed, else twins",
    ("compiler/templates/attention.py", "compiler.passes"): "kernel and pattern share one notion of region",
}

#: Where three or more op classes may be named: code that is about single operators.
ABOUT_OPS = ("compiler.ops", "compiler.rewrites", "compiler.transforms", "compiler.passes", "compiler.lower",
             "compiler.templates", "compiler.plan", "compiler.schedule", "frontends")


@cache
def tracked() -> tuple[str, ...]:
    """The files of the checkout by path: git's list, or without git all of them but caches and builds."""
    git = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, text=True)
    if git.returncode == 0:
        names = git.stdout.splitlines()
    else:
        hidden = re.compile(r"(^|/)(\.|build/|dist/|__pycache__)")
        names = [n for p in ROOT.rglob("*") if not hidden.search(n := p.relative_to(ROOT).as_posix())]
    return tuple(sorted(n.replace(os.sep, "/") for n in names if (ROOT / n).is_file()))


@cache
def modules() -> tuple[str, ...]:
    """The Python files of the three rooms."""
    return tuple(n for n in tracked() if n.endswith(".py") and n.split("/")[0] in ROOMS)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def imports(name: str):
    """(module below the root, imported names, whether it stands in a function, line) of each import of ours in a file.
    """
    package = name.split("/")[:-1]

    def visit(node, is_late):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom):
                names = [alias.name for alias in child.names]
                if child.level:
                    base = package[:len(package) - child.level + 1]
                    found = [".".join([*base, child.module])] if child.module else [".".join([*base, n]) for n in names]
                elif (child.module or "").split(".")[0] == "lamina":
                    found = [child.module.removeprefix("lamina.")]
                else:
                    found = []
                for module in found:
                    yield module, names, is_late, child.lineno
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    if alias.name.split(".")[0] == "lamina":
                        yield alias.name.removeprefix("lamina."), [], is_late, child.lineno
            yield from visit(child, is_late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))
    yield from visit(tree(name), False)


def layer(module: str) -> str:
    """The layer of a dotted module: "compiler.ops", "runtime", "frontends"."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "compiler" else parts[0]


def is_allowed(source: str, module: str) -> bool:
    """Whether a file of layer `source` may import `module`."""
    if layer(module) == source or source not in LAYERS:
        return layer(module) == source
    for entry in LAYERS[source]:
        full = entry if entry.split(".")[0] in ROOMS else f"compiler.{entry}"
        if module == full or module.startswith(full + "."):
            return True
    return False


def test_layers_import_downward_only():
    wrong = []
    for name in modules():
        source = layer(name.removesuffix(".py").replace("/", "."))
        for module, _, is_late, line in imports(name):
            if is_allowed(source, module):
                continue
            exceptions = {**EARLY, **(LATE if is_late else {})}
            if (name, layer(module)) not in exceptions:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_every_layer_is_in_the_table():
    found = {layer(name.removesuffix(".py").replace("/", ".")) for name in modules()}
    unknown = {f for f in found if f not in LAYERS and f != "compiler.__init__"}
    assert not unknown


def test_the_exceptions_are_needed():
    seen = {(name, layer(module), is_late) for name in modules() for module, _, is_late, _ in imports(name)}
    unused = [key for key in LATE if (*key, True) not in seen] + [key for key in EARLY if (*key, False) not in seen]
    assert not unused


def test_files_are_short():
    long = {name: n for name in modules() if (n := (ROOT / name).read_text(encoding="utf-8").count("\n")) > LONGEST}
    assert not long, f"more than {LONGEST} lines: split the question that each answers in two"


def test_every_module_says_what_it_answers():
    assert not [name for name in modules() if not ast.get_docstring(tree(name))]


def test_no_file_is_a_drawer():
    drawers = re.compile(r"(^|_)(utils?|helpers?|misc|common|stuff)(_|$)")
    assert not [name for name in tracked() if name.endswith(".py") and drawers.search(Path(name).stem)]


def test_each_room_reads_the_environment_in_one_place():
    readers: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name in modules():
        words = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree(name))}
        if words & {"environ", "getenv"}:
            readers[name.split("/")[0]].append(name)
    assert readers["compiler"] == [], "options are passed, so that they are part of every cache key"
    assert len(readers["runtime"]) <= 1 and len(readers["frontends"]) <= 1, readers


def test_op_lists_stay_at_home():
    wrong = []
    classes = {cls.__name__ for cls in REGISTRY.values()}
    for name in modules():
        if layer(name.removesuffix(".py").replace("/", ".")) in ABOUT_OPS:
            continue
        from_ops = [names for module, names, _, _ in imports(name) if module.startswith("compiler.ops")]
        named = {n for names in from_ops for n in names} & classes
        if len(named) >= 3:
            wrong.append(f"{name} names {', '.join(sorted(named))}")
    assert not wrong, "ask the ops instead (a method or trait of Op):\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_is_described(name):
    cls = REGISTRY[name]
    assert cls.__doc__ and cls.__doc__ != Op.__doc__ and not cls.__doc__.startswith(cls.__name__ + "(")


def test_every_rule_is_described():
    from lamina.compiler.rewrites import RULES
    rules = {r for found in RULES.values() for r in found}
    assert rules
    silent = [r.name for r in rules if "->" not in r.description.split("\n")[0]]
    assert not silent, "a rule's docstring begins with `before -> after`"


def test_no_path_of_one_machine_is_written_down():
    homes = ["/" + "root/", "/" + "home/[a-z]", "/" + "work/", "/" + "Users/", r"[A-Z]:\\+" + "Users"]
    private = re.compile("|".join(homes))
    wrong = []
    for name in tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if private.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


def test_paths_named_in_the_documents_exist():
    folders = "|".join((*ROOMS, "tests", "examples", "benchmarks", "docs"))
    path = re.compile(rf"(?<![\w./-])(?:{folders})/[\w./-]*[\w/]")
    link = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
    code = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)  # in which brackets are no links
    wrong = []
    for name in tracked():
        if not name.endswith(".md"):
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        for found in path.findall(text):
            if not (ROOT / found).exists() and not (ROOT / name).parent.joinpath(found).exists():
                wrong.append(f"{name}: {found}")
        for target in link.findall(code.sub("", text)):
            is_local = "://" not in target and not target.startswith("mailto:")
            if is_local and not (ROOT / name).parent.joinpath(target).exists():
                wrong.append(f"{name}: link to {target}")
    assert not wrong, "\n".join(wrong)


def test_import_is_light():
    code = f"import sys, lamina; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", "import it where it is first needed"
