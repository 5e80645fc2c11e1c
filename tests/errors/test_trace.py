"""Do programs that can't be traced say so, at the user's line, with a way out?"""

import inspect

import numpy as np
import pytest

import lamina as lm

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def line_of(function, text: str) -> int:
    """The line of this file where `function`'s source has `text`."""
    lines, start = inspect.getsourcelines(function)
    return start + next(i for i, line in enumerate(lines) if text in line)


def error_of(function, *args, **kwargs) -> lm.LaminaError:
    with pytest.raises(lm.LaminaError) as caught:
        lm.trace(function, *(args or (X,)), **kwargs)
    return caught.value


def takes_a_branch(x):
    y = x * 2
    if y.sum() > 0:  # here
        return y
    return x


def loops(x):
    n = 0
    while lm.any(x > n):  # here
        n += 1
    return x


def indexes_a_list(x):
    table = [1, 2, 3]
    return x * table[x[0, 0].astype("int64")]  # here


def makes_a_range(x):
    return sum(i * x for i in range(lm.argmax(x)))  # here


def takes_a_float(x):
    return x * float(x[0, 0])  # here


def takes_an_int(x):
    return x * int(x[0, 0])  # here


def takes_an_item(x):
    return x * x[0, 0].item()  # here


def makes_a_numpy_array(x):
    return np.asarray(x)  # here


def assigns(x):
    x[0] = 1  # here
    return x


def assigns_to_numpy(x):
    out = np.zeros((2, 3), np.float32)
    out += x  # here
    return out


def uses_a_mask(x):
    return x[x > 2]  # here


def slices_by_a_value(x):
    return x[0, :lm.argmax(x[0])]  # here


def searches(x):
    return x if 3 in x else -x  # here


def formats(x):
    print(f"{x.sum():.3f}")  # here


def calls_unknown_numpy(x):
    return np.linalg.svd(x)  # here


def reduces_a_ufunc(x):
    return np.add.reduce(x)  # here


def takes_nonzero(x):
    return lm.nonzero(x)  # here


def makes_a_shape(x):
    return lm.zeros(lm.argmax(x[0]))  # here


@pytest.mark.parametrize("function, what, hint", [
    (takes_a_branch, "Tracer<bool[]> can't be used as a truth value", "use lm.cond or lm.where to choose"),
    (loops, "Tracer<bool[]> can't be used as a truth value", "lm.while_loop to repeat"),
    (indexes_a_list, "Tracer<i64[]> can't be used as a Python index or size", "lm.take and lm.dynamic_slice"),
    (makes_a_range, "Tracer<i64[]> can't be used as a Python index or size", "lm.fori_loop an array as count"),
    (takes_a_float, "Tracer<f32[]> can't be turned into a float", "x.astype(lm.float32)"),
    (takes_an_int, "Tracer<f32[]> can't be turned into an int", "static_argnames"),
    (takes_an_item, "Tracer<f32[]> can't be turned into a Python scalar", "take its item() there"),
    (makes_a_numpy_array, "Tracer<f32[2, 3]> can't be turned into a NumPy array", "lm.exp for np.exp"),
    (assigns, "Tracer<f32[2, 3]> can't be assigned to", "x = x.at[index].set(value)"),
    (assigns_to_numpy, "can't be written into a NumPy array", "write a = a + x, not a += x"),
    (uses_a_mask, "can't be indexed with the traced mask Tracer<bool[2, 3]>", "lm.where(mask, x, other)"),
    (slices_by_a_value, "a slice with the traced bound Tracer<i64[]>", "lm.dynamic_slice"),
    (searches, "can't be searched with `in`", "lm.any(x == item)"),
    (formats, "Tracer<f32[]> can't be formatted as '.3f'", "print its repr"),
    (calls_unknown_numpy, "lamina has no function 'svd'", "lamina ops"),
    (reduces_a_ufunc, "can't be given to np.add.reduce", "lm.add"),
    (takes_nonzero, "lm.nonzero can't be traced: the shape of its result depends on the values", "before they enter"),
    (makes_a_shape, "holds a traced array, and shapes must be known", "x.shape"),
], ids=lambda f: getattr(f, "__name__", ""))
def test_the_users_line_and_a_way_out_are_shown(function, what, hint):
    error = error_of(function)
    assert what in error.message, error
    assert (error.location.file, error.location.line, error.location.function.split(".")[-1]) == (
        __file__, line_of(function, "# here"),
        function.__name__ if error.location.function != "<genexpr>" else "<genexpr>")
    assert hint in error.hint, error.hint
    assert f"test_trace.py:{error.location.line}" in str(error)


def test_a_symbolic_length_can_not_be_iterated_or_measured():
    spec = lm.TensorSpec(("n", 3))
    assert "its length is the symbolic dim n" in str(error_of(lambda x: [row for row in x], spec))
    assert "the length of Tracer<f32[n, 3]> is the symbolic dim n" in str(error_of(len, spec))
    assert lm.trace(lambda x: sum(row for row in x), X).results[0].shape == (3,)


KEPT = []


def test_a_leaked_tracer_says_where_it_was_made():
    def leaks(x):
        KEPT.append(x * 2)  # made
        KEPT.append(x)
        return x

    lm.trace(leaks, X)
    made, parameter = KEPT
    with pytest.raises(lm.TraceError) as caught:
        made + 1
    assert (f"made at {__file__}:{line_of(leaks, '# made')} in leaks while function 'leaks' was traced, is used after "
            f"that "
            "trace has ended") in str(caught.value)
    assert "return it from the traced function" in caught.value.hint
    with pytest.raises(lm.TraceError, match="parameter 'x' while function 'leaks' was traced"):
        lm.trace(lambda y: y + parameter, X)
    with pytest.raises(lm.TraceError, match="is used after that trace has ended"):
        lm.trace(lambda y: parameter, X)
    KEPT.clear()


def test_a_tracer_that_leaks_from_a_loop_body_is_named():
    def f(x):
        kept = []
        lm.scan(lambda c, r: (c + r, kept.append(c)), x[0], x)
        return kept[0] + 1
    assert "while the body of lm.scan was traced, is used after that trace has ended" in str(error_of(f))


def test_a_trace_that_fails_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError):
        lm.trace(lambda x: 1 / 0, X)
    assert isinstance(lm.zeros(3), np.ndarray)


def test_arguments_and_results_that_are_no_arrays_are_named():
    assert "argument 'options.mode' is str, which is no array" in str(error_of(lambda options: 1, {"mode": "fast"}))
    error = error_of(lambda x: {"y": x, "name": "fast"})
    assert "returns str at ['name'], which is no array" in str(error)
    assert "function 'set' returns" not in str(error)


def test_a_graph_can_not_hold_tracers_of_the_trace_around_it():
    assert "uses Tracer<f32[2, 3]> of the trace around it" in str(error_of(lambda x: lm.trace(lambda y: y + x, X)))


def test_errors_of_ops_carry_the_users_line():
    def f(x):
        return x @ x  # here
    error = error_of(f)
    assert isinstance(error, lm.ShapeError) and error.location.line == line_of(f, "# here")
    with pytest.raises(lm.DTypeError) as caught:
        lm.subtract(X > 0, X > 1)
    assert caught.value.location.file == __file__


@pytest.mark.parametrize("array, message", [
    (np.array(["a"]), "no dtype for an array of <U1"), (np.array([1j]), "no dtype for an array of complex128"),
    (1j, "can't be an array"), ("text", "str can't be an array"), ([[1], [2, 3]], "a nested list is ragged"),
    (object(), "object can't be"),
])
def test_what_is_no_array_is_named(array, message):
    with pytest.raises(lm.LaminaError, match=message):
        lm.add(array, 1)
