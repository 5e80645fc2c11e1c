"""Is the text of a program its exact inverse, can people read it, and does it say where it is wrong?"""

import re

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import FormatError
from lamina.compiler.plan.program import walk_launches
from lamina.compiler.plan.text import parse_program, print_program, program_constants

from .programs import arrays_of, floats, models, program_of, traced


@pytest.mark.parametrize("name", models())
def test_text_round_trips(name):
    program = program_of(models()[name])
    text = print_program(program)
    back = parse_program(text, program.kernels, program_constants(program))
    assert print_program(back) == text
    assert [launch.location for launch in walk_launches(back.steps)] == [launch.location
                                                                         for launch in walk_launches(program.steps)]
    assert back == program


@pytest.mark.parametrize("name", models())
def test_kernels_may_follow(name):
    program = program_of(models()[name])
    text = print_program(program, kernels=True)
    back = parse_program(text, constants=program_constants(program))
    assert print_program(back, kernels=True) == text


def test_a_program_reads_well():
    def f(x, w):
        return lm.concat([lm.matmul(lm.tanh(x), w), x], axis=1)
    program = traced(f, lm.TensorSpec(("batch", 4), "float32", "x"), lm.TensorSpec((4, 8), "float32", "w"),
                     dims={"batch": (1, 16)})
    text = re.sub(r"  # \S*test_text.py:\d+ in f$", "  # here", str(program), flags=re.MULTILINE)
    slot = next(line for line in text.splitlines() if line.startswith("  slot 0"))
    assert re.fullmatch(r'  slot 0 "tanh": 16\*batch bytes at 0, live \d+..\d+  # here', slot)
    assert "  input 0 x: f32[batch, 4]\n  input 1 w: f32[4, 8]\n  output 0 out0: f32[batch, 12]\n" in text
    assert re.search(r"  arena 256 bytes, lower bound 256 bytes at step \d+, symbolic\n", text)
    assert re.search(r'  step \d+: k\d_tanh\(input 0 x\) -> \(slot 0 "tanh": f32\[batch, 4\]\)  # here\n', text)
    assert "output 0 out0: f32[batch, 8] strides(12, 1))  # here\n" in text
    assert re.search(r"\(input 0 x\) -> \(output 0 out0\[8\]: f32\[batch, 4\] strides\(12, 1\)\)", text)


def test_programs_are_equal_when_their_text_is():
    one, two = (traced(lambda x: lm.tanh(x) * 2, floats(3)) for _ in range(2))
    assert hash(one) == hash(two)
    other = traced(lambda x: lm.tanh(x) * 3, floats(3))
    assert one != other and one != "text"
    assert str(one).split("step")[0] == str(two).split("step")[0]


def test_a_program_without_a_plan_prints():
    from dataclasses import replace
    program = replace(program_of(models()["layer"]), plan=None)
    text = print_program(program)
    assert "arena" not in text and " at " not in text.split("kernel 0")[0]
    assert print_program(parse_program(text, program.kernels)) == text


def test_a_program_from_text_runs():
    from lamina.compiler.driver import compile_program
    from lamina.compiler.targets.find import find_target
    from lamina.runtime.executable import Executable
    graph = models()["digits"]
    program = program_of(graph)
    back = parse_program(print_program(program, kernels=True), constants=program_constants(program))
    arrays = arrays_of(graph)
    (got,) = Executable(compile_program(back, find_target("host")))(*arrays)
    (want,) = lm.compile(graph)(*arrays)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("change, message", [
    (("slot 0 \"tanh\":", "slot 1 \"tanh\":"), "slot 0 was expected"),
    (("(input 0 x)", "(input 7 x)"), "there is no input 7"),
    (("(input 0 x)", "(input 0 y)"), "input 0 is called 'x', not 'y'"),
    (("kernel 0 ", "kernel 0 other_"), "was not given, nor does its text follow"),
    (("strides(12, 1)", "strides(12)"), "2 dims have 1 strides"),
    (("strides(12, 1)", "strides(12, heads)"), "no dim is called 'heads'"),
    (("f32[batch, 4]) ", "f32[batch, 4] "), "was expected"),
    (("slot 0 \"tanh\": f32[batch, 4]", "slot 0 \"tanh\""), "the type of what lies in slot 0 was expected"),
    (("16*batch bytes", "16*batch byte"), "'bytes' was expected"),
    (("\n}", ""), "'step' or 'loop' or 'branch' was expected, not the end of the text"),
])
def test_mistakes_are_named_with_their_line(change, message):
    def f(x, w):
        return lm.concat([lm.matmul(lm.tanh(x), w), x], axis=1)
    program = traced(f, lm.TensorSpec(("batch", 4), "float32", "x"), lm.TensorSpec((4, 8), "float32", "w"),
                     dims={"batch": (1, 16)})
    text = print_program(program)
    assert change[0] in text
    with pytest.raises(FormatError, match=r"program text, line \d+, column \d+") as error:
        parse_program(text.replace(*change, 1), program.kernels)
    assert message in str(error.value)


def test_missing_constants_are_named():
    program = program_of(models()["digits"])
    with pytest.raises(FormatError, match=rf"names {len(program_constants(program))} constants that were not given"):
        parse_program(print_program(program), program.kernels)
