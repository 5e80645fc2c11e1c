"""Does the command line teach itself, and quickly?"""

import subprocess
import sys

import pytest

from lamina.frontends.cli.parser import COMMANDS

HEAVY = ("llvmlite", "networkx", "onnx", "rich", "torch", "onnxruntime", "platformdirs")


def test_help_lists_every_command_and_the_exit_codes(lamina):
    ended = lamina("--help")
    assert ended.code == 0 and "exit codes: 0 ok, 1 a check failed" in ended.out
    assert all(f"\n    {name} " in ended.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(lamina, command):
    ended = lamina(command, "--help")
    assert ended.code == 0
    examples = ended.out.split("examples:\n")[1].strip().splitlines()
    assert 2 <= len(examples) <= 6 and all("lamina" in line for line in examples)


def test_no_command_prints_help_to_standard_error(lamina):
    ended = lamina()
    assert ended.code == 2 and ended.out == "" and "commands:" in ended.err


def test_help_imports_nothing_heavy():
    code = ("import sys\nfrom lamina.frontends.cli import main\nassert main(['run', '--help']) == 0\n"
            f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


def test_version(lamina):
    ended = lamina("--version")
    assert ended.code == 0 and ended.out.startswith("lamina 0.") and "LLVM" in ended.out
    assert lamina("--version", "--json").json["versions"]["numpy"]


@pytest.mark.parametrize("words", [["frobnicate"], ["run"], ["ir", "m", "--stage", "nope"], ["bench", "m", "--threads", "0"],
                                   ["check", "m", "--dim", "batch"], ["check", "m", "--max-memory", "much"], ["cache", "burn"]])
def test_wrong_words_are_a_usage_error(lamina, words):
    ended = lamina(*words)
    assert ended.code == 2 and "usage:" in ended.err and ended.out == ""


def test_options_stand_before_or_behind_the_command(lamina, mlp):
    assert lamina("--json", "info", mlp).json == lamina("info", mlp, "--json").json


@pytest.mark.parametrize("shell, checker", [("bash", ["bash", "-n"]), ("zsh", None), ("fish", None)])
def test_completion_names_every_command(lamina, shell, checker, tmp_path):
    ended = lamina("completion", shell)
    assert ended.code == 0 and all(name in ended.out for name in COMMANDS) and "--stage" in ended.out or shell == "fish" and "-l stage" in ended.out
    if checker:
        (tmp_path / "script").write_text(ended.out)
        assert subprocess.run([*checker, str(tmp_path / "script")]).returncode == 0


def test_bash_completes(lamina, tmp_path):
    (tmp_path / "script").write_text(lamina("completion", "bash").out)
    test = f"source {tmp_path}/script; COMP_WORDS=(lamina ir --stage k); COMP_CWORD=3; _lamina; echo ${{COMPREPLY[@]}}; " \
           "COMP_WORDS=(lamina d); COMP_CWORD=1; _lamina; echo ${COMPREPLY[@]}"
    ended = subprocess.run(["bash", "-c", test], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["kernels", "doctor", "demo"]
