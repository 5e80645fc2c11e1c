"""Do dims compute, compare and divide exactly, and do they leave other operands alone?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.compiler.core.dims import divide_exactly, evaluate, product, symbol
from lamina.compiler.core.errors import ShapeError

N = symbol("n", 8, 512, 8)
M = symbol("m")


@pytest.mark.parametrize("dividend, divisor, name", [
    (N, 8, "((n) // 8)"), (3 * N, 2, "3*((n) // 2)"), (6 * N, 4, "3*((n) // 2)"), (N * M, 4, "m*((n) // 4)"),
    (N + 16, 8, "((n) // 8) + 2"), (N, 16, None), (M, 2, None), (4 * M, 2, "2*m"), (N + 3, 8, None), (N * M, N, "m"),
    (N, N // 8, "8"), (N * M, N // 2, "2*m"), (3 * N * N, N // 4, "12*n"), (N + 8, N // 8, None), (N // 2, N // 8, "4"), (N // 8, N, None)])
def test_exact_division_uses_the_multiples_of_symbols(dividend, divisor, name):
    quotient = divide_exactly(dividend, divisor)
    assert (None if quotient is None else str(quotient)) == name
    if quotient is not None:
        assert quotient * divisor == dividend and product([divisor, quotient]) == dividend


@given(st.integers(1, 12), st.integers(1, 16), st.integers(0, 5), st.integers(1, 64))
def test_parts_add_up(factor, divisor, more, eighth):
    whole = factor * N + more * 8
    quotient = divide_exactly(whole, divisor)
    if quotient is not None:
        assert evaluate(quotient, {"n": 8 * eighth}) * divisor == evaluate(whole, {"n": 8 * eighth})
        assert sum([quotient] * divisor, 0) == whole


def test_halves_of_a_symbol_add_up_to_it():
    assert N // 2 + N // 2 == N and (N // 8) * 4 == N // 2 and (N // 4) * 12 == 3 * N


def test_comparisons_are_answered_by_facts():
    assert N > 7 and N >= 8 and N <= 512 and N < 513 and 7 < N and 2 * N - 1 > N
    for question in (lambda: N < 9, lambda: N > 8, lambda: N <= 8, lambda: M > 1, lambda: M < N):
        with pytest.raises(ShapeError, match="is not known while compiling"):
            question()


def test_other_operands_are_left_alone():
    class Array:
        __radd__ = __rsub__ = __rmul__ = __rmod__ = __rfloordiv__ = lambda self, other: "array"
    for result in (N + Array(), N - Array(), N * Array(), N % Array(), N // Array()):
        assert result == "array"
    with pytest.raises(TypeError, match="unsupported operand"):
        N + 1.5
    assert N * np.int64(2) == 2 * N
