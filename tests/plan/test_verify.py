"""Does the verifier accept every program that is right, and name the step and the storage of one that is wrong?"""

import re
from dataclasses import replace

import pytest

from lamina.compiler.core.errors import VerifyError
from lamina.compiler.plan.program import Place, walk_launches
from lamina.compiler.plan.text import parse_program, print_program, program_constants

from .programs import models, program_of

TWO = """
program two symbols(n=1..8) {
  input 0 x: f32[n, 4]
  output 0 y: f32[n, 4]
  slot 0 "a": 16*n bytes at 0, live 1..2
  slot 1 "b": 16*n bytes at 128, live 2..3, above (0)
  arena 256 bytes, lower bound 256 bytes at step 2, symbolic
  kernel 0 k0
  step 1: k0(input 0 x) -> (slot 0 "a": f32[n, 4])
  step 2: k0(slot 0 "a": f32[n, 4]) -> (slot 1 "b": f32[n, 4])
  step 3: k0(slot 1 "b": f32[n, 4]) -> (output 0 y)
}

kernel k0(in x: f32[n, 4], out y: f32[n, 4]) symbols(n=1..8) {
  for i in n {
    for j in 4 {
      y[i, j] = x[i, j]
    }
  }
}
"""

LOOP = """
program loop {
  input 0 x: f32[4]
  output 0 y: f32[6, 4]
  slot 0 "carry": 32 bytes at 0, live 1..4
  slot 1 "inside": 16 bytes at 64, live 2..3
  arena 128 bytes, lower bound 128 bytes at step 2
  kernel 0 k0
  step 1: k0(input 0 x) -> (slot 0 "carry": f32[4])
  loop loop.1 in 6 {
    step 2: k0(slot 0 "carry"[4*loop.1 - 8*((loop.1) // 2)]: f32[4]) -> (slot 1 "inside": f32[4])
    step 3: k0(slot 1 "inside": f32[4]) -> (slot 0 "carry"[4*loop.1 - 8*((loop.1 + 1) // 2) + 4]: f32[4])
    step 4: k0(slot 0 "carry"[4*loop.1 - 8*((loop.1) // 2)]: f32[4]) -> (output 0 y[4*loop.1]: f32[4])
  }
}

kernel k0(in x: f32[4], out y: f32[4]) {
  for i in 4 {
    y[i] = x[i]
  }
}
"""

BRANCH = """
program branch {
  input 0 i: i32[]
  input 1 x: f32[4]
  output 0 y: f32[4]
  slot 0 "side": 16 bytes at 0, live 1..3
  arena 64 bytes, lower bound 64 bytes at step 1
  kernel 0 k0
  branch input 0 i {
    case 0 {
      step 1: k0(input 1 x) -> (slot 0 "side": f32[4])
    }
    case 1 {
      step 2: k0(input 1 x) -> (slot 0 "side": f32[4])
    }
  }
  step 3: k0(slot 0 "side": f32[4]) -> (output 0 y)
}

kernel k0(in x: f32[4], out y: f32[4]) {
  for i in 4 {
    y[i] = x[i]
  }
}
"""


@pytest.mark.parametrize("text", [TWO, LOOP, BRANCH])
def test_these_programs_are_right(text):
    parse_program(text).verify()


@pytest.mark.parametrize("name", models())
def test_what_is_planned_is_right(name):
    program = program_of(models()[name])
    assert program.verify() is program


@pytest.mark.parametrize("text, changes, message", [
    # launches
    (TWO, [('step 2: k0(slot 0 "a": f32[n, 4])', 'step 2: k0(slot 0 "a": i32[n, 4])')],
     r"step 2 \(k0\): x, the arena storage 'a', holds i32, the kernel takes f32"),
    (TWO, [('step 2: k0(slot 0 "a": f32[n, 4])', 'step 2: k0(slot 0 "a": f32[n, 2, 2])')],
     r"step 2 \(k0\): x, the arena storage 'a', is \[n, 2, 2\] with strides \(4, 2, 1\), the kernel takes \[n, 4\] "
     r"with \(4, 1\)"),
    (TWO, [('step 2: k0(slot 0 "a": f32[n, 4])', 'step 2: k0(slot 0 "a": f32[n, 4] strides(1, n))')],
     r"with strides \(1, n\)"),
    (TWO, [("step 2: k0(slot 0 \"a\": f32[n, 4])", "step 2: k0()")], "1 places are given, the kernel takes 2"),
    (TWO, [("step 3:", "step 2:")], r"step 2 \(k0\): step 2 runs before it"),
    (TWO, [('(slot 1 "b": f32[n, 4])\n', "(input 0 x)\n")], "y, input 'x', is written$"),
    (TWO, [("in x: f32[n, 4]", "constant x: f32[n, 4]")],
     r"step 1 \(k0\): x, input 'x', is given for the role 'constant'"),
    (TWO, [("in x: f32[n, 4]", "in x: f32[5*n]"), ("x[i, j]", "x[i * 4 + j]")],
     r"spans 4\*n elements, the kernel takes 5\*n"),
    # the plan
    (TWO, [("at 128, live 2..3, above (0)", "at 128, live 2..3")],
     r"'b' \(steps 2 to 3\) and the arena storage 'a' \(steps 1 to 2\) live at the same time and share memory"),
    (TWO, [("above (0)", "above (1)")], "lies above slot 1, which does not begin below it"),
    (TWO, [("at 128", "at 100")], "begins at 100, which is no multiple of 64"),
    (TWO, [(", symbolic", "")], "is symbolic, the plan is not"),
    (TWO, [("arena 256 bytes", "arena 192 bytes")], "the arena has 192 bytes, its lower bound is 256"),
    (LOOP, [("at 64", "at 0")], "live at the same time and share memory"),
    (LOOP, [("arena 128 bytes, lower bound 128", "arena 64 bytes, lower bound 64")],
     "'inside' ends at byte 80, the arena has 64"),
    # live ranges
    (TWO, [("live 1..2", "live 1..1")], r"step 2 \(k0\): the arena storage 'a' is used, it lives in the steps 1 to 1"),
    (LOOP, [("live 1..4", "live 1..3"),
            (' -> (slot 0 "carry"[4*loop.1 - 8*((loop.1 + 1) // 2) + 4]: f32[4])', " -> (output 0 y[0]: f32[4])"),
            ('step 4: k0(slot 0 "carry"[4*loop.1 - 8*((loop.1) // 2)]: f32[4])', "step 4: k0(input 0 x)")],
     r"loop loop.1: the arena storage 'carry' is used inside and outside of it, but lives in the steps 1 to 3, "
     r"not 2 to 4"),
    # memory
    (TWO, [('16*n bytes at 0', '16*n - 4 bytes at 0')],
     r"step 1 \(k0\): the bytes 0 to 16 of the arena storage 'a' are reached, it has 12"),
    (TWO, [('step 2: k0(slot 0 "a": f32', 'step 2: k0(slot 0 "a"[n - 1]: f32')],
     r"the bytes 28 to 156 of .* it has 128 where n is 8"),
    (LOOP, [("y[4*loop.1]", "y[5*loop.1]")],
     r"step 4 \(k0\): the bytes 100 to 116 of output 'y' are reached, it has 96"),
    (LOOP, [("y[4*loop.1]", "y[4*loop.1 - 4]")], r"the bytes -16 to 0 of output 'y' are reached"),
    (TWO, [('  step 1: k0(input 0 x) -> (slot 0 "a": f32[n, 4])\n', "")],
     r"step 2 \(k0\): the arena storage 'a' is read before it is written"),
    (TWO, [("-> (output 0 y)", '-> (slot 0 "a": f32[n, 4])'), ("live 1..2", "live 1..3")],
     "output 'y' is not written whole"),
    (LOOP, [("loop loop.1 in 6", "loop loop.1 in 5")], "output 'y' is not written whole"),
    (BRANCH, [("step 2: k0(input 1 x) -> (slot 0 \"side\": f32[4])", "step 2: k0(input 1 x) -> (output 0 y)")],
     r"step 3 \(k0\): the arena storage 'side' is read before it is written"),
])
def test_what_is_wrong_is_named(text, changes, message):
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    with pytest.raises(VerifyError, match=message):
        parse_program(text).verify()


def test_a_program_needs_a_plan_that_knows_its_storages():
    program = parse_program(TWO)
    with pytest.raises(VerifyError, match="there is no memory plan"):
        replace(program, plan=None).verify()
    with pytest.raises(VerifyError, match="the arena storage 'b' has no slot"):
        replace(program, plan=replace(program.plan, slots=program.plan.slots[:1])).verify()


GAPS = """
program gaps {
  input 0 x: f32[3, 9]
  output 0 y: f32[3, 9]
  slot 0 "pad": 144 bytes at 0, live 1..2
  arena 192 bytes, lower bound 192 bytes at step 1
  kernel 0 k0
  kernel 1 k1
  step 1: k0(input 0 x) -> (slot 0 "pad"[1]: f32[3, 9] strides(12, 1))
  step 2: k1(slot 0 "pad"[1]: f32[3, 9] strides(12, 1)) -> (output 0 y)
}

kernel k0(in x: f32[3, 9], out y: f32[3, 9] strides(12, 1)) {
}

kernel k1(in x: f32[3, 9] strides(12, 1), out y: f32[3, 9]) {
}
"""


def test_memory_between_rows_may_be_nobodys():
    """Rows that are written one by one are what a reader of those rows needs; a row that is missing is noticed."""
    whole = parse_program(GAPS).verify()
    rows = [place_of_row(whole, row) for row in range(3)]
    assert written_rows(whole, rows).verify()
    for missing in range(3):
        with pytest.raises(VerifyError, match="the arena storage 'pad' is read before it is written"):
            written_rows(whole, [row for i, row in enumerate(rows) if i != missing]).verify()


def place_of_row(program, row: int) -> Place:
    place = program.steps[0].places[1]
    return replace(place, offset=place.offset + 12 * row, shape=(1, 9))


def written_rows(program, rows):
    """`program` whose first step writes these rows alone."""
    first, second = program.steps
    buffer = program.kernels[0].params[1]
    outs = [replace(buffer, name=f"y{i}", shape=(1, 9)) for i in range(len(rows))]
    kernel = replace(program.kernels[0], params=(program.kernels[0].params[0], *outs))
    steps = (replace(first, places=(first.places[0], *rows)), second)
    return replace(program, kernels=(kernel, program.kernels[1]), steps=steps)


def test_counters_are_known_in_their_loop_alone():
    program = parse_program(LOOP)
    loop = program.steps[1]
    outside = replace(program, steps=(program.steps[0], *loop.steps))
    with pytest.raises(VerifyError, match="the dim 'loop.1' is not known here"):
        outside.verify()


def test_a_place_that_leaves_its_storage_by_one_element_is_found():
    program = program_of(models()["digits"])
    text = print_program(program)
    moved = 0
    for launch in walk_launches(program.steps):
        for place in launch.places:
            span = _span(place)
            if place.storage.kind == "arena" or span is None:
                continue
            moved += 1
            shifted = replace(place, offset=place.offset + 1)
            places = tuple(shifted if p is place else p for p in launch.places)
            steps = tuple(replace(s, places=places) if s is launch else s for s in program.steps)
            broken = replace(program, steps=steps)
            with pytest.raises(VerifyError, match="are reached, it has"):
                broken.verify()
    assert moved > 5
    assert print_program(program) == text


def _span(place: Place):
    """Whether the place reaches the end of its storage: its bytes, or None."""
    end = place.offset + sum(((n - 1) * s for n, s in zip(place.shape, place.strides)), 0) + 1
    return end if end * place.dtype.itemsize == place.storage.size else None


def test_the_driver_verifies(monkeypatch):
    from lamina.compiler import driver
    from lamina.compiler.plan.program import Slot

    def overlapping(program, max_memory):
        plan = plan_memory(program, max_memory)
        return replace(plan, slots=tuple(Slot(slot.storage, 0) for slot in plan.slots))
    plan_memory = driver.plan_memory
    monkeypatch.setattr(driver, "plan_memory", overlapping)
    with pytest.raises(VerifyError, match="share memory"):
        driver.compile_graph(models()["digits"])


def test_round_trip_keeps_what_is_verified():
    for text in (TWO, LOOP, BRANCH):
        program = parse_program(text)
        back = parse_program(print_program(program, kernels=True), constants=program_constants(program))
        assert back.verify() == program
        assert re.sub(r"\s+", " ", print_program(program)) in re.sub(r"\s+", " ", text)
