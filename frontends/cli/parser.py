"""What can be typed?  The commands, the options that they share, and help that teaches by example."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("info", "check", "ir", "build", "run", "bench", "profile", "memory", "explain", "report", "compare",
            "bisect", "doctor", "ops", "cache", "demo", "completion")
LISTS = ("files", "what")  # the positional arguments that are lists

OK, FAILED, USAGE, UNSUPPORTED, OVER_BUDGET, INTERNAL, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 141, 130

DESCRIPTION = """\
lamina compiles neural networks to native code.

MODEL is an ONNX file (.onnx), a compiled artifact (.lam), a graph as text (.lamina, .txt), a Python function (module.py:function,
with --spec for its inputs), or - for standard input."""

EPILOG = """\
examples:
  lamina demo                                         see it work: a model that is built in
  lamina check model.onnx                             can lamina compile this? every obstacle at once
  lamina run model.onnx -i x=@x.npy -o y.npz          run a model on arrays
  lamina bench model.onnx --vs onnxruntime            how fast is it here?
  lamina build model.onnx -o libmodel.so              a shared library and its C header

exit codes: 0 ok, 1 a check failed, 2 usage or unreadable input, 3 unsupported model, 4 over budget, 5 internal error,
130 interrupted. Data goes to standard output, everything else to standard error. LAMINA_TRACEBACK=full shows all of an error,
`lamina doctor` the settings in force."""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions and examples as they are written, options in a column that is wide enough."""

    def __init__(self, prog: str, **keywords):
        super().__init__(prog, max_help_position=30, **{"width": 120, **keywords})


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line. A command's module configures its part and gives `run(arguments, console)`."""
    parser = argparse.ArgumentParser("lamina", description=DESCRIPTION, epilog=EPILOG, formatter_class=Formatter, allow_abbrev=False)
    add_general_options(parser)
    parser.add_argument("--version", action="store_true", help="print lamina's version and those of what it stands on")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        module = import_module(f".commands.{name}", __package__)
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
                                      epilog=examples(module.EXAMPLES), formatter_class=Formatter, allow_abbrev=False)
        module.configure(command)
        add_general_options(command)
        command.set_defaults(run=module.run, command_parser=command)
    return parser


def examples(lines: str) -> str:
    """The end of a command's help: its examples, one a line."""
    return "examples:\n" + "\n".join("  " + line for line in lines.strip().splitlines())


def add_general_options(parser: argparse.ArgumentParser) -> None:
    """Options that stand before or behind the command. Those that are not typed are filled in by `parse`."""
    group = parser.add_argument_group("general options")
    group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="write the result as JSON to standard output")
    group.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress and no notes")
    group.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS, help="say more; show tracebacks of errors")


def parse(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser, and what was typed with the general options that were not. Raises SystemExit for help and mistakes."""
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    loose = next((words for words in map(vars(arguments).get, LISTS) if words is not None), None)
    if rest and loose is not None and not any(word.startswith("-") and word != "-" for word in rest):
        loose += rest  # argparse takes a list of positionals from one place; here they may stand among the options
    elif rest:
        getattr(arguments, "command_parser", parser).error(f"unrecognized arguments: {' '.join(rest)}")
    for name, value in (("json", False), ("quiet", False), ("verbose", 0)):
        if not hasattr(arguments, name):
            setattr(arguments, name, value)
    return parser, arguments


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """MODEL, and what can be said about it."""
    parser.add_argument("model", metavar="MODEL", help="a .onnx, .lam, .lamina or .txt file, module.py:function, or -")
    group = parser.add_argument_group("model options")
    group.add_argument("--dim", action="append", default=[], metavar="NAME=FACT", type=dim_fact,
                       help="fix or bound a symbolic dim: batch=8, batch=1..64, tokens=8..512%%8 (repeat for several)")
    group.add_argument("--spec", action="append", default=[], metavar="NAME=SHAPE",
                       help="an input of module.py:function: x=batch,128,f32 (repeat in order)")


def add_compile_options(parser: argparse.ArgumentParser) -> None:
    """How a model is compiled."""
    group = parser.add_argument_group("compile options")
    group.add_argument("--target", default="host", help='the machine to compile for: host (default), x86-64-v3, aarch64-linux ...')
    group.add_argument("--max-memory", type=byte_count, metavar="BYTES", help="most bytes of the arena: 512MiB, 1.5G, 1000000")
    group.add_argument("--weights", choices=("bfloat16", "float16", "int8", "int4"), metavar="DTYPE",
                       help="store constant weights as bfloat16, float16, int8 or int4; arithmetic stays float32")
    group.add_argument("--tune", type=seconds, metavar="SECONDS",
                       help="measure schedules of kernels for so long, and take what is faster; 0 takes what is known")
    group.add_argument("--no-fuse", action="store_true", help="every operator in a kernel of its own")
    group.add_argument("--no-winograd", action="store_true", help="every convolution directly, rounded as plain sums are")
    group.add_argument("--no-cache", action="store_true", help="neither read nor write the compile cache")
    group.add_argument("--dump", metavar="DIR", help="write every stage of the compilation into this folder, up to one that fails")
    group.add_argument("--check", choices=("none", "each"), default="none",
                       help="each: compare every stage with the traced graph, and name the first that changes a number")


def dim_fact(text: str) -> tuple[str, str]:
    """A (name, fact) pair from NAME=FACT."""
    name, sign, fact = text.partition("=")
    if not name or not sign or not fact:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FACT such as batch=8 or batch=1..64")
    return name, fact


def seconds(text: str) -> float:
    """Seconds, 0 or more."""
    try:
        found = float(text)
        if 0 <= found < float("inf"):
            return found
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds such as 30")


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def byte_count(text: str) -> int:
    """Bytes from a number with an optional unit: 4096, 64KiB, 512MiB, 1.5G."""
    lower = text.strip().lower().removesuffix("b")
    unit = lower.lstrip("0123456789.")
    try:
        return int(float(lower[:len(lower) - len(unit)]) * _UNITS[unit])
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes such as 512MiB") from None
