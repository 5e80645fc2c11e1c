"""Which models need not be compiled again?  What this or another process compiled before, found by content in the disk cache.

A file's key is its bytes, so a model that was compiled before is neither parsed nor imported: hashing it (about 1 GB/s for each core) is
the the reading of its weights. A graph's key is its text with the hashes of its constants, and with the user's lines, which messages name.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Callable

from ..compiler.core.errors import LaminaError
from ..compiler.core.options import Options
from ..compiler.graph.graph import Graph
from ..runtime.artifact import Artifact
from ..runtime.cache import DiskCache, artifact_key, default_cache


LARGE_BYTES = 1 << 25  # of constants; above, an artifact is written to the cache on a thread of its own


def compile_cached(model, *specs, dims: Mapping | None = None, options: Options = Options(), donate: tuple[int, ...] = (),
                   cache: DiskCache | None | str = "default", progress=None) -> Artifact:
    """The artifact of what `lamina.compile` takes, from the cache where it is there. `cache=None` compiles anew."""
    found = default_cache() if cache == "default" else cache
    bench = _bench(options, found)
    if options.dump is not None or options.check != "none":
        found = None  # the compilation itself is what the user wants to see
    if isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith(".onnx") and not specs and found is not None:
        return _compile_file(Path(model), dims, options, donate, found, progress, bench)
    from .compile import as_graph
    return compile_graph_cached(as_graph(model, *specs, dims=dims), options, donate, found, progress, bench)


def compile_graph_cached(graph: Graph, options: Options, donate: tuple[int, ...], cache: DiskCache | None,
                         progress=None, bench=None) -> Artifact:
    """The artifact of a graph. `bench` measures for `Options.tune`."""
    if cache is None:
        return _compile(graph, options, donate, None, progress, bench)
    from ..compiler.graph.text import print_graph
    key = artifact_key("graph", print_graph(graph), *_choices(options, donate))
    artifact = cache.get_artifact(key)
    if artifact is None:
        artifact = _compile(graph, options, donate, cache, progress, bench)
        if _is_final(artifact):
            cache.put_artifact(key, artifact)
    else:
        artifact.texts = TextsOnDemand(lambda: _compile(graph, options, donate, cache, bench=bench))
    return artifact


def _compile(graph: Graph, options: Options, donate: tuple[int, ...], cache: DiskCache | None, progress=None,
             bench=None) -> Artifact:
    from ..compiler.driver import compile_graph  # late: what is in the cache needs no compiler
    return compile_graph(graph, options=options, donate=donate, cache=cache, progress=progress, write=writer(options),
                         load=native_run, bench=bench)


def _bench(options: Options, cache: DiskCache | None):
    """What measures schedules, where the options ask for that."""
    if options.tune is None:
        return None
    from .tuning import bench_for
    return bench_for(options.target, cache)


def writer(options: Options):
    """What writes the stages of a compilation down, where the options ask for it."""
    if options.dump is None:
        return None
    from .dump import DumpFolder
    return DumpFolder(options.dump)


def native_run(artifact: Artifact):
    """The artifact as something to call, for `Options(check="each")`; None where this machine is not what it was compiled for."""
    from ..runtime.cpu_features import check_target
    from ..runtime.executable import Executable
    try:
        check_target(artifact.manifest["target"], artifact.manifest["name"])
    except LaminaError:
        return None
    return Executable(artifact)


def _compile_file(path: Path, dims: Mapping | None, options: Options, donate: tuple[int, ...], cache: DiskCache,
                  progress, bench) -> Artifact:
    """The artifact of an ONNX file. The names of the files that hold its external data are an entry of their own, by its content."""
    from ..runtime.digest import file_digest
    if not path.is_file():
        _import_file(path, dims)  # raises what there is to say
    choices = (repr(sorted((dims or {}).items())), *_choices(options, donate))
    before = _state(path)
    main = file_digest(path)
    names_key = artifact_key("external data", main)
    names = cache.get(names_key)
    if names is not None:
        files = [path, *(path.parent / name for name in json.loads(names))]
        if all(file.is_file() for file in files):
            artifact = cache.get_artifact(_file_key(main, files, choices), files)
            if artifact is not None:
                artifact.texts = TextsOnDemand(lambda: _compile(_import_file(path, dims)[0], options, donate, cache,
                                                               bench=bench))
                return artifact
    graph, files = _import_file(path, dims)
    others = [_state(file) for file in files[1:]]
    key = _file_key(main, files, choices)
    artifact = _compile(graph, options, donate, cache, progress, bench)
    if [_state(file) for file in files] == [before, *others] and _is_final(artifact):  # nobody wrote them meanwhile
        cache.put(names_key, json.dumps([os.path.relpath(file, path.parent.resolve()) for file in files[1:]]).encode())
        _store(cache, key, artifact, files)
    return artifact


def _is_final(artifact: Artifact) -> bool:
    """Whether another compilation would make no better code: all that the user wanted to have measured is."""
    return not artifact.manifest.get("tuning", {}).get("left")


def _store(cache: DiskCache, key: str, artifact: Artifact, files: list[Path]) -> None:
    """Put an artifact into the cache: a large one beside the caller's work, which need not wait for the disk."""
    if sum(c.nbytes for c in artifact.constants) < LARGE_BYTES:
        cache.put_artifact(key, artifact, files)
        return
    kept = replace(artifact, texts={})  # what is stored, not the graphs behind it
    threading.Thread(target=cache.put_artifact, args=(key, kept, files), name="lamina-cache", daemon=False).start()


def _import_file(path: Path, dims: Mapping | None) -> tuple[Graph, list[Path]]:
    """The graph of an ONNX file, and the files that it lies in: itself first."""
    from .onnx.importer import Importer
    from .onnx.model import read_model
    model = read_model(path)
    return Importer(model, dims or {}, {}).graph(), [path, *model.mapped]


def _file_key(main: str, files: list[Path], choices: tuple[str, ...]) -> str:
    from ..runtime.digest import file_digest
    return artifact_key("file", files[0].name, main, *map(file_digest, files[1:]), *choices)


def _choices(options: Options, donate: tuple[int, ...]) -> tuple[str, ...]:
    """What else the code depends on; "host" is the level that this machine has."""
    from ..compiler.targets.find import find_target
    found = find_target(options.target).name, options.key(), repr(tuple(donate))
    if options.tune is None:
        return found
    from .tuning import machine_key
    return *found, *machine_key()


def _state(path: Path) -> tuple:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


class TextsOnDemand(Mapping):
    """The stages of a model that came from the cache: it is compiled when somebody wants to see them."""

    def __init__(self, compile: Callable[[], Artifact]):
        self._compile = compile
        self._texts: Mapping | None = None

    def _found(self) -> Mapping:
        if self._texts is None:
            self._texts = self._compile().texts
        return self._texts

    def __getitem__(self, stage: str):
        return self._found()[stage]

    def __iter__(self):
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())
