"""Which model was meant?  MODEL on the command line becomes a Graph, or an Executable."""

from __future__ import annotations

import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from ...compiler.core.errors import FormatError, LaminaError, VerifyError
from ...compiler.core.location import Location
from ...compiler.core.options import Options
from ...compiler.graph.graph import Graph
from .parser import add_compile_options, byte_count

TEXTS = (".lamina", ".txt")
_ROOMS = tuple(str(Path(__file__).resolve().parents[2] / room) for room in ("compiler", "frontends", "runtime"))


def model_options(arguments) -> Options:
    """The compile options that were typed."""
    options = Options(target=arguments.target, max_memory=arguments.max_memory, fuse=not arguments.no_fuse,
                      winograd=not arguments.no_winograd, weights=arguments.weights, tune=arguments.tune,
                      check=arguments.check, check_nans=getattr(arguments, "check_nans", False), dump=arguments.dump)
    return with_options(options, getattr(arguments, "options", ()))


def with_options(options: Options, texts: Sequence[str]) -> Options:
    """`options` with those that are spelled NAME=VALUE, such as fuse=false, max_memory=1G, max_memory=none."""
    known = {f.name: f.type for f in fields(Options)}
    changes = {}
    for text in texts:
        name, _, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            raise LaminaError(f"{text!r} is no compile option", hint=f"NAME=VALUE with one of {', '.join(known)}")
        changes[name] = _option_value(text, known[name], value.strip())
    return replace(options, **changes)


def _option_value(text: str, type: str, value: str):
    """The value of an option whose annotation is `type`."""
    if "None" in type and value.lower() == "none":
        return None
    try:
        if type.startswith("bool"):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if type.startswith("int"):
            return byte_count(value)
        return float(value) if type.startswith("float") else value
    except (KeyError, ValueError, ArgumentTypeError):
        raise LaminaError(f"can't read the compile option {text!r}", hint=f"it is a {type}") from None


def arguments_for(arguments, model: str, options: Sequence[str] = ()) -> Namespace:
    """What was typed, for another model beside MODEL: compiled in the same way but for `options`; an artifact is taken as it is."""
    own = Namespace(**{**vars(arguments), "model": model, "options": list(options)})
    if ".py:" not in model:
        own.spec = []
    if model.endswith(".lam"):
        defaults = ArgumentParser()
        add_compile_options(defaults)
        vars(own).update(vars(defaults.parse_args([])), dim=[])
    return own


def load_graph(arguments, console) -> Graph:
    """The graph of MODEL with the dims that were typed, verified."""
    name, dims = arguments.model, dict(arguments.dim)
    is_function = ".py:" in name
    if arguments.spec and not is_function:
        raise LaminaError("--spec is for module.py:function", hint="a model in a file has its types already; --dim declares dims")
    if is_function:
        return read_function(name, arguments.spec, dims)
    if name.endswith(".lam"):
        raise LaminaError(f"{name} is compiled: its graph is not in it", hint="give the model that it was built from")
    if name != "-" and not Path(name).exists():
        raise FormatError(f"{name}: there is no such file", hint="MODEL is a .onnx, .lam, .lamina or .txt file, or module.py:function")
    from ..symbols import with_dims
    if name.endswith(TEXTS):
        return with_dims(read_text(name), dims)
    if name == "-":
        data = sys.stdin.buffer.read()
        if data.lstrip()[:6] in (b"graph ", b'graph"') or data.startswith(b"#"):
            return with_dims(parse(data, "standard input", {}), dims)
        return load_onnx(data, dims, console)
    if not name.endswith(".onnx"):
        console.detail(f"{name} is read as ONNX")
    return load_onnx(name, dims, console)


def load_onnx(source, dims: dict, console) -> Graph:
    """The graph of an ONNX model."""
    from ..onnx import load
    with console.progress("reading"):
        return load(source, dims=dims)


def read_text(path: str) -> Graph:
    """The graph that a text file spells. Large constants are read from `constants.npz` beside it, as a dump leaves them."""
    from ..dump import read_constants
    return parse(Path(path).read_bytes(), path, read_constants(Path(path).parent))


def parse(data: bytes, source: str, constants: dict) -> Graph:
    """The graph in a text, verified."""
    from ...compiler.graph.text import parse_graph
    try:
        return parse_graph(data.decode(), constants).verify()
    except (VerifyError, FormatError, UnicodeDecodeError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, LaminaError) else (str(error), None)
        raise FormatError(f"{source}: {message}", hint=hint) from error


# ---- functions ---------------------------------------------------------------------------------------------------
def read_function(name: str, specs: list[str], dims: dict) -> Graph:
    """The graph of a function in a Python file, traced for `specs`; a Graph of that name is taken as it is."""
    from ..symbols import with_dims
    from ..trace import trace
    path, _, attribute = name.rpartition(":")
    found = import_object(path, attribute)
    if isinstance(found, Graph):
        return with_dims(found.verify(), dims)
    if not callable(found):
        raise LaminaError(f"{name} is a {type(found).__name__}, not a function or a Graph")
    function = getattr(found, "__wrapped__", found)
    try:
        return trace(function, *(read_spec(s) for s in specs), dims=dims or None).verify()
    except LaminaError as error:
        if error.location is not None and error.location.file in _callers():
            error.location = _definition(function)  # the error has no line in the user's file: the caller's is this program's
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if frames and frames[-1].filename.startswith(_ROOMS) and not isinstance(error, TypeError):
            raise
        raise LaminaError(f"{name} fails while it is traced: {type(error).__name__}: {error}", location=_location(frames, path),
                          hint="give its array arguments in order: --spec x=batch,128,f32" if isinstance(error, TypeError) else None) from error


def _callers() -> set[str]:
    """The files that are running this command."""
    frame, files = sys._getframe(1), set()
    while frame is not None:
        files.add(frame.f_code.co_filename)
        frame = frame.f_back
    return files


def _definition(function) -> Location | None:
    """Where a function is defined."""
    code = getattr(function, "__code__", None)
    return Location(code.co_filename, code.co_firstlineno, code.co_name) if code is not None else None


def import_object(path: str, name: str):
    """The attribute `name` of the Python file `path`, which is executed."""
    import importlib.util
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{path}: there is no such file", hint="MODEL is module.py:function")
    spec = importlib.util.spec_from_file_location(f"_model_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, LaminaError):
            raise
        raise LaminaError(f"{path} can't be imported: {type(error).__name__}: {error}",
                          location=_location(traceback.extract_tb(error.__traceback__), path)) from error
    finally:
        sys.path.remove(str(file.resolve().parent))
    if not hasattr(module, name):
        import difflib
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        near = difflib.get_close_matches(name, names, 1)
        raise LaminaError(f"{path} has no {name!r}", hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'nothing'}")
    return getattr(module, name)


def _location(frames, path: str) -> Location | None:
    """The last frame that is in the user's file."""
    wanted = Path(path).resolve()
    frame = next((f for f in reversed(frames) if Path(f.filename).resolve() == wanted), None)
    return Location(frame.filename, frame.lineno, frame.name if frame.name != "<module>" else "") if frame else None


def read_spec(text: str):
    """The TensorSpec of "x=batch,128,f32" (a dtype alone is a scalar; float32 where none is given)."""
    from ...compiler.core.dtypes import as_dtype
    from ...compiler.core.errors import DTypeError
    from ..trace import TensorSpec
    name, sign, rest = text.partition("=")
    if not sign or not rest:
        raise LaminaError(f"can't read --spec {text!r}", hint="write NAME=DIM,DIM,DTYPE such as x=batch,128,f32")
    *shape, last = [part.strip() for part in rest.split(",")]
    try:
        dtype = as_dtype(last)
    except DTypeError:
        shape, dtype = [*shape, last], as_dtype("float32")
    return TensorSpec([int(d) if d.isdigit() else d for d in shape], dtype, name)


# ---- compiled ----------------------------------------------------------------------------------------------------
def compile_model(arguments, console):
    """The Artifact of MODEL by the options that were typed; from the cache where it is there, without reading the model again."""
    from ..cached import compile_cached
    is_onnx = arguments.model.endswith(".onnx") and not arguments.spec
    source, dims = (arguments.model, dict(arguments.dim)) if is_onnx else (load_graph(arguments, console), None)
    with console.progress(f"compiling {Path(arguments.model).name}") as tell:
        artifact = compile_cached(source, dims=dims, options=model_options(arguments),
                                  cache=None if arguments.no_cache else "default", progress=tell)
    if "tuning" in artifact.manifest:
        found = artifact.manifest["tuning"]
        rest = f"; {found['left']} are left, and the next --tune goes on" if found["left"] else ""
        console.note(f"{found['measured']} kinds of groups have schedules that were measured{rest}")
    return artifact


def load_manifest(arguments, console) -> dict:
    """The manifest of MODEL: of its compilation, or of the artifact that it is. It need not run on this machine."""
    if not arguments.model.endswith(".lam"):
        return compile_model(arguments, console).manifest
    from ...runtime.package import load_artifact
    _no_compile_options(arguments)
    return load_artifact(arguments.model, verify=False, runnable=False).manifest


def _no_compile_options(arguments) -> None:
    if model_options(arguments).check_nans:
        raise LaminaError(f"{arguments.model} is compiled: its graph, which explains a NaN, is not in it",
                          hint="give the model that it was built from")
    if arguments.dim or arguments.spec or model_options(arguments) != Options():
        raise LaminaError(f"{arguments.model} is compiled already", hint="options of the compilation belong to `lamina build`")


def load_executable(arguments, console):
    """MODEL ready to run: compiled now, or the artifact that it is."""
    if arguments.model.endswith(".lam"):
        from ...runtime.executable import Executable
        from ...runtime.package import load_artifact
        _no_compile_options(arguments)
        return Executable(load_artifact(arguments.model))
    from ..compile import loaded
    artifact = compile_model(arguments, console)
    if arguments.target != "host":
        from ...runtime.cpu_features import check_target
        check_target(artifact.manifest["target"], arguments.model)
    return loaded(artifact, model_options(arguments))
