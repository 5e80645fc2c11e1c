"""Does the memory planner keep live values apart, is the arena near its lower bound, and does a run take what the plan
says?"""

import random
from itertools import combinations

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.dims import evaluate, symbol
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.errors import BudgetError
from lamina.compiler.plan.memory import ALIGNMENT, bytes_at, plan_memory, starts_at, unbounded_symbols
from lamina.compiler.plan.program import Launch, Place, Program, Storage

from .programs import DIGITS, arrays_of, floats, models, program_of, traced

BYTE = as_dtype("uint8")


def program_with(storages: list[Storage]) -> Program:
    """A program that uses `storages`; what plan_memory reads of it."""
    places = tuple(Place(s, 0, (s.size,), (1,), BYTE) for s in storages)
    return Program("lives", (), (), (Launch(0, places),), None, (), (), ())


def lives(seed: int, count: int, size) -> list[Storage]:
    """Storages with random live ranges; `size(generator)` draws their bytes."""
    generator = random.Random(seed)
    found = []
    for i in range(count):
        first = generator.randrange(2 * count)
        found.append(Storage("arena", 0, size(generator), f"s{i}", first,
                             first + generator.choice((0, 1, 1, 2, 3, 5, count))))
    return found


def assert_apart(plan, extents, shown="") -> None:
    """Storages that live at the same time share no byte; all end inside of the arena."""
    starts, total = starts_at(plan, extents), bytes_at(plan, extents)
    spans = [(s.storage, starts[id(s.storage)], starts[id(s.storage)] + evaluate(s.storage.size, extents))
             for s in plan.slots]
    for (a, a_low, a_high), (b, b_low, b_high) in combinations(spans, 2):
        if a.first <= b.last and b.first <= a.last:
            assert a_high <= b_low or b_high <= a_low, f"{a.label} and {b.label} {shown}"
    for storage, low, high in spans:
        assert low % ALIGNMENT == 0 and 0 <= low and high <= total, storage.label


def bound_of(storages: list[Storage]) -> int:
    """The most bytes, rounded to the alignment, that live at one step."""
    steps = {s.first for s in storages}
    return max(sum(max(ALIGNMENT, -(-s.size // ALIGNMENT) * ALIGNMENT) for s in storages if s.first <= t <= s.last)
               for t in steps)


@pytest.mark.parametrize("seed", range(20))
def test_random_lives_share_no_memory(seed):
    storages = lives(seed, (3, 10, 40, 90)[seed % 4],
                     lambda g: g.choice((1, 64, 100, 640, 4096, g.randrange(1, 100_000))))
    plan = plan_memory(program_with(storages))
    assert not plan.is_symbolic
    assert_apart(plan, {})
    assert plan.lower_bound == bound_of(storages) <= plan.arena_bytes <= 1.02 * plan.lower_bound
    assert sum(s.first <= plan.peak_step <= s.last for s in storages) and bytes_at(plan, {}) == plan.arena_bytes


@pytest.mark.parametrize("seed", range(8))
def test_random_symbolic_lives_share_no_memory(seed):
    n, m = symbol("n", 1, 64), symbol("m", 8, 512, 8)

    def size(generator):
        return generator.choice((n * 4, m * 4, n * m, n * generator.randrange(1, 50) + 64, m + 12, 100))
    plan = plan_memory(program_with(lives(seed, (5, 25, 50)[seed % 3], size)))
    assert plan.is_symbolic
    for extents in ({"n": 1, "m": 8}, {"n": 64, "m": 512}, {"n": 1, "m": 512}, {"n": 64, "m": 8}, {"n": 13, "m": 80}):
        assert_apart(plan, extents, extents)
    assert bytes_at(plan, {"n": 64, "m": 512}) == plan.arena_bytes >= plan.lower_bound


@pytest.mark.parametrize("count", [2, 3, 10, 60, 300])
def test_chains_take_their_lower_bound(count):
    generator = random.Random(count)
    for sizes in ([4096] * count, [generator.randrange(64, 100_000) for _ in range(count)],
                  [64 << (i % 9) for i in range(count)]):
        storages = [Storage("arena", 0, size, f"s{i}", i, i + 1) for i, size in enumerate(sizes)]
        plan = plan_memory(program_with(storages))
        assert plan.arena_bytes <= 1.02 * plan.lower_bound


@pytest.mark.parametrize("name", models())
def test_models_take_their_lower_bound(name):
    plan = program_of(models()[name]).plan
    assert plan.lower_bound <= plan.arena_bytes <= 1.02 * plan.lower_bound


def test_nothing_takes_no_memory():
    plan = plan_memory(program_with([]))
    assert (plan.arena_bytes, plan.lower_bound, plan.slots, bytes_at(plan, {})) == (0, 0, (), 0)


# ---- budgets ---------------------------------------------------------------------------------------------------------
def test_a_plan_over_the_budget_names_the_tensors():
    def f(x, w):
        return lm.matmul(lm.exp(lm.matmul(x, w)), w) + 1
    graph = lm.trace(f, floats(64, 64), floats(64, 64))
    needed = program_of(graph).plan.arena_bytes
    assert needed == 64 * 64 * 4
    assert program_of(graph, max_memory=needed).plan.arena_bytes == needed
    with pytest.raises(BudgetError) as error:
        lm.compile(graph, options=lm.Options(max_memory=needed - 1))
    message = str(error.value)
    assert f"the arena takes {needed:,} bytes, {needed - 1:,} are allowed; live at the peak (step 1):" in message
    assert f"{needed:,} bytes  contract+exp  at " in message and "test_memory.py" in message
    assert "hint: allow more with max_memory" in message


def test_a_symbolic_budget_holds_for_the_largest_extents():
    graph = lm.trace(lambda x: lm.matmul(lm.matmul(x, x.T), x), floats("n", 8), dims={"n": (1, 32)})
    needed = program_of(graph).plan.arena_bytes
    assert needed >= 32 * 32 * 4
    program = program_of(graph, max_memory=needed)
    assert program.plan.arena_bytes == needed == bytes_at(program.plan, {"n": 32}) > bytes_at(program.plan, {"n": 31})
    with pytest.raises(BudgetError, match=rf"the arena takes {needed:,} bytes, {needed - 64:,} are allowed"):
        program_of(graph, max_memory=needed - 64)


def test_symbols_without_a_bound_are_named():
    one = traced(lambda x: lm.matmul(lm.matmul(x, x.T), x), floats("n", 8))
    assert unbounded_symbols(one) == ["n"]
    other = traced(lambda x: lm.matmul(lm.matmul(x, x.T), x), floats("n", 8), dims={"n": (1, 4)})
    assert unbounded_symbols(other) == []


# ---- what a run takes ------------------------------------------------------------------------------------------------
CANARY = 0x5B


def touched(executable, arrays) -> tuple[int, int]:
    """(the arena bytes that a call asked for, the end of those that it wrote), seen in an arena with room behind it."""
    executable(*arrays)
    (frame,) = executable._frames
    room = np.full(frame.arena_bytes + 4096 + ALIGNMENT, CANARY, np.uint8)
    frame.arena = room[-room.ctypes.data % ALIGNMENT:][:frame.arena_bytes + 4096]
    frame.words[0] = frame.arena.ctypes.data
    executable(*arrays)
    changed = np.flatnonzero(frame.arena != CANARY)
    return frame.arena_bytes, int(changed[-1]) + 1 if changed.size else 0


@pytest.mark.parametrize("name", ["symbolic layer", "symbolic scanned", "symbolic joined", "looked up"])
def test_a_call_takes_the_bytes_that_were_planned(name):
    graph = models()[name]
    executable, plan = lm.compile(graph), program_of(graph).plan
    (dim,) = graph.symbols
    for extent in (dim.lower, 3, 7, dim.upper):
        arrays = arrays_of(graph, {dim.name: extent})
        taken, end = touched(executable, arrays)
        assert taken == bytes_at(plan, {dim.name: extent})
        assert max(0, taken - ALIGNMENT) <= end <= taken
    assert taken == plan.arena_bytes == executable.memory.arena_bytes


def test_the_digits_take_the_bytes_that_were_planned():
    graph = lm.onnx.load(str(DIGITS), dims={"batch": (1, 32)})
    executable, plan = lm.compile(graph), program_of(graph).plan
    for batch in (1, 2, 5, 32):
        taken, end = touched(executable, arrays_of(graph, {"batch": batch}))
        assert taken == bytes_at(plan, {"batch": batch}) and taken - ALIGNMENT <= end <= taken
    assert taken == executable.memory.arena_bytes == plan.arena_bytes == plan.lower_bound


def test_arenas_are_kept_and_grow():
    graph = lm.trace(lambda x: lm.matmul(lm.matmul(x, x.T), x), floats("n", 8), dims={"n": (1, 64)})
    executable, plan = lm.compile(graph), program_of(graph).plan
    for n in (4, 64, 4, 32):
        executable(np.ones((n, 8), np.float32))
        (frame,) = executable._frames
        assert frame.arena_bytes == bytes_at(plan, {"n": n})
    assert frame.arena.nbytes == plan.arena_bytes
