"""lamina build: how does a model leave as a file that runs elsewhere?"""

from __future__ import annotations

from pathlib import Path

from ..parser import OK, add_compile_options, add_model_options

SUMMARY = "a model as a program, a library, an object file or an artifact; the suffix of -o says which"
EXAMPLES = """
lamina build model.onnx -o model                  a program: ./model --help says how it reads and writes .npy files
lamina build model.onnx -o libmodel.so            a shared library, and its C header model.h
lamina build model.onnx -o model.lam --dim batch=1..64
lamina build train_step.lam -o libtrain.so        a step that lm.build(..., state=) wrote: a library that trains
lamina build model.onnx -o model.o --name digits --target x86-64-v3
"""


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".lam artifact, .so or .a library, .o object, .h header; no suffix: a program")
    parser.add_argument("--name", metavar="NAME", help="the prefix of the C functions, and the header's name (default: from FILE)")
    parser.add_argument("--linker", metavar="NAME", help="cc, ld, ziglang, or a path (default: LAMINA_LINKER, or the first that is there)")
    add_compile_options(parser)


def run(arguments, console) -> int:
    """Compile, write, and say what was written."""
    from ....compiler.core.errors import LaminaError
    from ....runtime.package import load_artifact
    from ...build import KINDS, build
    from ..console import format_bytes
    from ..model import compile_model
    output = Path(arguments.output)
    if arguments.output == "-":
        raise LaminaError("a library or program can't go to standard output", hint="-o FILE")
    if output.suffix not in KINDS or not output.parent.is_dir() or output.is_dir():  # known before minutes of compiling
        raise LaminaError(f"can't write {output}: " + (f"the suffix {output.suffix!r} is none of {', '.join(k for k in KINDS if k)}"
                          if output.suffix not in KINDS else "it is a folder" if output.is_dir() else f"there is no folder {output.parent}"))
    model = load_artifact(arguments.model, runnable=False) if arguments.model.endswith(".lam") else compile_model(arguments, console)
    before = {path: path.stat().st_mtime_ns for path in output.parent.glob("*.h")}
    with console.progress(f"writing {output.name}"):
        build(model, output, name=arguments.name, linker=arguments.linker)
    files = [output, *(path for path in sorted(output.parent.glob("*.h")) if before.get(path) != path.stat().st_mtime_ns and path != output)]
    manifest = model.manifest
    if console.json:
        console.result("build", {"model": arguments.model, "kind": KINDS[output.suffix], "target": manifest["target"]["name"],
                                 "files": [{"path": str(f), "bytes": f.stat().st_size} for f in files]})
    else:
        for file in files:
            console.print(f"{file}: {format_bytes(file.stat().st_size)}")
        console.note(f"for {manifest['target']['name']}" + (f", dims {', '.join(manifest['symbols'])}" if manifest["symbols"] else ""))
    return OK
