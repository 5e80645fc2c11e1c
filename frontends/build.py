"""How does a model leave as a file?  A shared or static library with a C header, an object, a program, or an artifact."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

from ..compiler.codegen.c_names import CModel, c_model, identifier_of
from ..compiler.codegen.state import StateFile
from ..compiler.core.errors import LaminaError, UnsupportedError
from ..compiler.core.options import Options
from ..runtime.artifact import Artifact
from ..runtime.settings import linker_settings
from ..runtime.version import VERSION

KINDS = {".so": "shared", ".a": "static", ".o": "object", ".lam": "artifact", ".h": "header", "": "executable"}


def build(model, output: str | os.PathLike, *specs, name: str | None = None, dims: Mapping | None = None, options: Options | None = None,
          linker: str | None = None, state: int | Sequence[int] | None = None) -> Path:
    """Compile `model` and write it to `output`, whole or not at all; the suffix says what it becomes. Returns its path.

    libm.so, libm.a, m.o   libraries, with the C header NAME.h beside them       m      a program that reads and writes .npy files
    m.lam                  an artifact for `lamina.load`                         m.h    the header alone

    `model` is what `lamina.compile` takes (a function with `specs`, a Graph, an ONNX model), a saved .lam file, an Artifact or an
    Executable. `name` is the prefix of the C functions (default: from `output`, without "lib"). `linker` is "cc", "ld", "ziglang" or the
    path of one; the environment's LAMINA_LINKER, then the first that is there, where it is None. Libraries take the CPU that
    `options.target` names: "x86-64-v3" for all x86 machines since 2013-2015. `state` numbers arguments that
    the library keeps and its steps change, such as parameters and an optimizer's state. Their `specs` are arrays, the first values; the
    function returns what follows them, in their order and before anything else; and the C functions are NAME_init, NAME_step, NAME_save,
    NAME_load and others. UnsupportedError: there is no linker, or `name` can't be one.
    """
    output = Path(output)
    if output.suffix not in KINDS:
        raise LaminaError(f"{output.name}: what a file with the suffix {output.suffix!r} should be is not known",
                          hint="write .so, .a, .o, .lam or .h, or no suffix for a program")
    kind = KINDS[output.suffix]
    if not output.parent.is_dir():
        raise LaminaError(f"can't write {output}: there is no folder {output.parent}")
    if kind != "artifact":  # a name that can't be one is known before minutes of compiling
        name = name or identifier_of(output.stem.removeprefix("lib") or output.stem)
        c_model({"inputs": [], "outputs": [], "symbols": {}}, name, kind != "executable")
    artifact = as_artifact(model, *specs, dims=dims, options=options, state=state)
    if kind == "artifact":
        from ..runtime.package import save_artifact
        save_artifact(artifact, output)
        return output
    from ..compiler.codegen.header import header_text
    manifest = artifact.manifest
    if artifact.state and kind == "executable":
        raise UnsupportedError(f"{output.name} would be a program, which keeps no state from one run to the next",
                               hint="build a library (.so, .a) or an object (.o), and call its functions from C")
    c = c_model(manifest, name, kind != "executable")
    if kind == "header":
        return _write_text(output, header_text(c, manifest, VERSION))
    link_artifact(artifact, c, output, kind, linker or linker_settings())
    if kind != "executable":
        _write_text(output.with_name(f"{name}.h"), header_text(c, manifest, VERSION))
    return output


def as_artifact(model, *specs, dims: Mapping | None = None, options: Options | None = None,
                state: int | Sequence[int] | None = None) -> Artifact:
    """The artifact of a model; what is compiled already is taken as it is."""
    if (options or getattr(model, "options", None) or Options()).check_nans:
        from .checked import refusal
        raise refusal()
    artifact = getattr(model, "artifact", model)
    if isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith(".lam"):
        from ..runtime.package import load_artifact
        artifact = load_artifact(model, runnable=False)
    if isinstance(artifact, Artifact):
        if specs or dims or options is not None or state is not None:
            raise LaminaError("the model is compiled already", hint="leave types, dims, options and state out")
        return artifact
    if state is not None:
        from .stateful import stateful_artifact
        return stateful_artifact(model, *specs, state=state, dims=dims, options=options or Options())
    from .cached import compile_cached
    return compile_cached(model, *specs, dims=dims, options=options or Options())


def link_artifact(artifact: Artifact, model: CModel, output: Path, kind: str, linker: str | None) -> None:
    """Write the objects of an artifact and those around it to a folder, and link them."""
    from ..compiler.codegen.object import ObjectCompiler
    from ..compiler.codegen.standalone import baseline, standalone_ir
    from ..compiler.codegen.support import Array, Interface, SymbolFacts, main_ir, start_ir
    from ..compiler.targets.find import find_target
    from ..runtime.constants import constant_offsets, write_constants
    from ..runtime.link import link
    manifest = artifact.manifest
    triple, target = manifest["target"]["triple"], find_target(manifest["target"]["name"])
    is_program = kind == "executable"
    arrays = [*artifact.constants, *artifact.state]
    texts = {"model": standalone_ir(model, manifest, constant_offsets(arrays), f"lamina {VERSION}", state_file(artifact))}
    if is_program:
        symbols = tuple(SymbolFacts(s.name, s.lower, s.upper, s.multiple) for s in model.symbols)
        groups = [tuple(Array(a.name, a.dtype, a.shape) for a in group) for group in (model.inputs, model.outputs)]
        texts |= {"main": main_ir(Interface(model.name, *groups, symbols), triple), "start": start_ir(triple)}
    with ObjectCompiler(baseline(target)) as compiler:
        for module, text in texts.items():
            compiler.add(module, text)
        images = compiler.finish() | artifact.objects
    with tempfile.TemporaryDirectory(prefix="lamina-build-") as folder:
        paths = {}
        for stem, image in images.items():
            paths[stem] = Path(folder) / f"{stem}.o"
            paths[stem].write_bytes(image)
        paths["constants"] = Path(folder) / "constants.o"
        with open(paths["constants"], "wb") as file:
            write_constants(file, triple.split("-")[0], f"{model.name}_constants", arrays)
        start = paths.pop("start", None)
        link(list(paths.values()), output, kind, triple=triple, exports=model.functions, start=start, linker=linker)


def state_file(artifact: Artifact) -> StateFile | None:
    """What a file of the artifact's state looks like; None where it has none."""
    from ..compiler.codegen.support.safetensors import Tensor
    from ..runtime.tensors import DTYPE_NAMES, file_parts
    if not artifact.state:
        return None
    names = [artifact.manifest["inputs"][row["input"]]["name"] for row in artifact.manifest["state"]]
    named = dict(zip(names, artifact.state))
    return StateFile(file_parts(named, aligned=False)[0],
                     tuple(Tensor(n, DTYPE_NAMES[a.dtype.name], a.shape, a.nbytes) for n, a in named.items()))


def _write_text(path: Path, text: str) -> Path:
    from ..runtime.atomic import written_whole
    with written_whole(path, durable=False) as file:
        file.write(text.encode())
    return path
