"""lamina doctor: is this machine ready, and what would make it better?"""

from __future__ import annotations

from ..parser import FAILED, OK

SUMMARY = "what lamina finds on this machine, and a way out where something is missing"
EXAMPLES = """
lamina doctor
lamina doctor --json | jq .notes
LAMINA_NUM_THREADS=4 lamina doctor       what settings change
"""


def configure(parser) -> None:
    """No arguments of its own."""


def run(arguments, console) -> int:
    """Look, try a small model, and report. Exit code 1 where the trial fails."""
    facts, notes = examine(console.environment.settings)
    trial = try_model()
    if trial is not None:
        notes.insert(0, f"a small model did not run: {trial}. Run `lamina demo -v` and report what it says")
    if console.json:
        console.result("doctor", {"ok": trial is None, "facts": facts, "notes": notes})
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            console.print(f"{name.ljust(width)}  {value}")
        console.print(f"{'trial'.ljust(width)}  {'a small model compiled and ran: ok' if trial is None else 'failed: ' + trial}")
        for note in notes:
            console.print(f"note: {note}")
    return OK if trial is None else FAILED


def examine(settings: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """(facts as lines, notes that each say a way out)."""
    from .. import machine
    from ..console import format_bytes
    from ..version import find_versions, llvm_version
    notes: list[str] = []
    versions = find_versions()
    threads = machine.threads()
    total, available = machine.memory_bytes()
    facts = {"lamina": f"{versions['lamina']}, Python {versions['python']}, NumPy {versions['numpy']}",
             "code generator": f"llvmlite {versions['llvmlite']}, LLVM {llvm_version()}",
             "processor": machine.processor_name(), "levels": levels(notes),
             "threads": f"{threads['usable']} usable ({threads['processors']} processors, affinity {threads['affinity']}, cgroup "
                        + ("no limit" if threads["cgroup_quota"] is None else f"{threads['cgroup_quota']:g}") + ")",
             "memory": f"{format_bytes(available)} free of {format_bytes(total)}" if total else "not known"}
    if threads["cgroup_quota"] is not None and threads["cgroup_quota"] < 1:
        notes.append(f"the cgroup grants {threads['cgroup_quota']:g} of a processor: runs will pause whenever it is used up; raise the limit "
                     "(docker run --cpus, or resources.limits.cpu)")
    if threads["affinity"] < threads["processors"]:
        notes.append(f"this process may use {threads['affinity']} of {threads['processors']} processors (taskset, a batch system or a container)")
    pages = machine.huge_pages()
    facts["huge pages"] = pages or "not offered by this kernel"
    if pages == "never":
        notes.append("transparent huge pages are off: models with large weights run faster with them "
                     "(echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled)")
    facts["linkers"] = linkers(notes)
    facts["compile cache"] = cache(notes)
    facts["settings"] = ", ".join(f"{n}={v}" for n, v in settings.items()) or "none (LAMINA_* variables)"
    for name, purpose in (("onnx", "reading .onnx files"), ("onnxruntime", "lamina bench --vs onnxruntime, and comparing"),
                          ("torch", "torch.compile(backend=\"lamina\")"), ("safetensors", "weights in .safetensors")):
        facts[name] = versions[name] or f"not installed (for {purpose}: pip install {name})"
    return facts, notes


def levels(notes: list[str]) -> str:
    """The target that "host" means here, and what the targets above it would need."""
    from ....compiler.core.errors import UnsupportedError
    from ....compiler.targets.find import all_targets, find_target
    from ....runtime.cpu_features import host_architecture, missing_features
    try:
        host = find_target("host")
    except UnsupportedError as error:
        notes.append(f"{error.message}: {error.hint}")
        return "none"
    words = []
    for target in all_targets():
        if target.architecture == host_architecture():
            missing = missing_features({"required": target.required})
            words.append(f"{target.name} {'yes' if not missing else 'no (' + ', '.join(missing) + ')'}")
    if host.name == "x86-64-v2":
        notes.append("this processor has no AVX2 (or the virtual machine hides it): models run several times slower than with it; choose a CPU "
                     "model such as host-passthrough for the virtual machine")
    return f"{host.name} is the host's; " + ", ".join(words)


def linkers(notes: list[str]) -> str:
    """The linkers that `lamina build` can use."""
    from ....compiler.core.errors import UnsupportedError
    from ....runtime.cpu_features import host_architecture
    from ....runtime.link import find_linkers
    try:
        return ", ".join(linker.name for linker in find_linkers(host_architecture()))
    except UnsupportedError as error:
        notes.append(f"lamina build can make .lam and .a files only: {error.hint}")
        return "none"


def cache(notes: list[str]) -> str:
    """The folder of the compile cache, what is in it, whether it can be written."""
    from ....runtime.cache import default_cache
    from ..console import format_bytes
    found = default_cache()
    if found is None:
        notes.append("the compile cache is off: models are compiled again by every process (unset LAMINA_CACHE)")
        return "off"
    try:
        found.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = found.folder / ".doctor"
        trial.write_bytes(b"")
        trial.unlink()
        state = "writable"
    except OSError as error:
        state = f"not writable ({error.strerror})"
        notes.append(f"{found.folder} can't be written: set LAMINA_CACHE_DIR to a folder that can")
    return f"{found.folder}, {format_bytes(found.size())} of {format_bytes(found.limit)}, {state}"


def try_model() -> str | None:
    """Compile and run a small graph without the cache; None where it gives what NumPy gives, else what went wrong."""
    import numpy as np

    from ....compiler.driver import compile_graph
    from ....compiler.graph.text import parse_graph
    from ....runtime.executable import Executable
    graph = parse_graph('graph trial(%x: f32[n, 33], %w: f32[33, 17]) -> (y) symbols(n) {\n'
                        '  %0 = contract(%x, %w) {spec="mk,kn->mn"}\n  %1 = tanh(%0)\n  return %1\n}\n')
    x, w = (np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in ((5, 33), (33, 17)))
    try:
        (y,) = Executable(compile_graph(graph))(x, w)
    except Exception as error:  # a report on the machine goes on
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    gap = float(np.abs(y - np.tanh(x @ w)).max())
    return None if gap < 1e-5 else f"its result is off by {gap:.2g}"
