"""Does `Options(check_nans=True)` say where a NaN was born: the operator, the user's line, forward or backward?"""

import inspect

import numpy as np
import pytest

import lamina as lm

CHECKED = lm.Options(check_nans=True)


def error_of(function, *arrays, **keywords) -> lm.NanError:
    with pytest.raises(lm.NanError) as caught:
        lm.jit(function, options=CHECKED, **keywords)(*arrays)
    return caught.value


def is_at(error: lm.LaminaError, function, text: str) -> bool:
    """Whether an error names the line of this file where `function`'s source has `text`."""
    lines, start = inspect.getsourcelines(function)
    line = start + next(i for i, source in enumerate(lines) if text in source)
    return (error.location.file, error.location.line) == (__file__, line) and f"{__file__}:{line}" in str(error)


def array(*numbers, dtype="float32"):
    return np.array(numbers, dtype)


# ---- forward ---------------------------------------------------------------------------------------------------------
def takes_a_logarithm(x):
    scaled = x * 2
    return lm.sum(lm.log(scaled))  # here


def test_the_operator_its_line_and_the_element_are_named():
    error = error_of(takes_a_logarithm, array(1, -0.5, 3))
    assert is_at(error, takes_a_logarithm, "# here")
    assert (error.operator, error.backward_of, error.output, str(error.type)) == ("log", "", "out0", "f32[3]")
    assert error.message == (
        "the output 'out0' holds a NaN, born in log in forward code\n"
        "  log gives f32[3]: 1 of 3 elements is a NaN, the first at [1], of -1\n"
        "  no operand holds a NaN: f32[3] within -1 .. 6")
    assert isinstance(error, FloatingPointError)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_every_float_is_looked_at(dtype):
    error = error_of(takes_a_logarithm, array(1, -0.5, 3, dtype=lm.asarray([], dtype=dtype).dtype))
    assert error.operator == "log" and is_at(error, takes_a_logarithm, "# here")


def multiplies_what_overflowed(x):
    large = lm.exp(x)  # here
    return large * 0


def test_the_infinity_behind_a_nan_is_named_and_infinities_alone_are_none():
    error = error_of(multiplies_what_overflowed, array(1000))
    assert error.operator == "mul"
    assert f"the infinity was born in exp in forward code at {__file__}" in error.message
    assert lm.jit(lm.exp, options=CHECKED)(array(1000)) == np.inf


def test_symbolic_dims_and_several_outputs():
    exe = lm.compile(lambda x: (x + 1, lm.sqrt(x)), lm.TensorSpec(("rows", 2)), options=CHECKED)
    with pytest.raises(lm.NanError, match=r"the output 'out1'.*\n  sqrt gives f32\[3, 2\]: 6 of 6"):
        exe(np.full((3, 2), -1, np.float32))
    np.testing.assert_array_equal(exe(np.ones((3, 2), np.float32))[1], np.ones((3, 2)))


def test_a_graph_without_locations():
    graph = lm.parse("graph f(%x: f32[2]) -> (y) {\n  %0 = log(%x)\n  return %0\n}\n")
    with pytest.raises(lm.NanError, match="the output 'y' holds a NaN, born in log in forward code") as caught:
        lm.compile(graph, options=CHECKED)(array(1, -1))
    assert "\n  at " not in str(caught.value)


def test_an_onnx_model_names_its_node():
    helper = pytest.importorskip("onnx").helper
    x, y = (helper.make_tensor_value_info(name, 1, [2]) for name in "xy")
    node = helper.make_node("Log", ["x"], ["y"], name="layers/3/Log")
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(lm.NanError, match="born in log in forward code(.|\n)*at node 'layers/3/Log'"):
        lm.compile(model, options=CHECKED)(array(1, -1))


# ---- what reaches no output ------------------------------------------------------------------------------------------
def test_a_nan_that_where_does_not_select_is_none():
    guarded = lm.jit(lambda x: lm.where(x > 0, lm.log(x), 0), options=CHECKED)
    np.testing.assert_array_equal(guarded(array(1, -1)), [0, 0])


def guards_one_and_lets_another_through(x):
    guarded = lm.where(x > 0, lm.log(x), 0)
    return guarded + lm.sqrt(x)  # here


def test_a_guarded_nan_is_not_taken_for_the_one_that_came_through():
    error = error_of(guards_one_and_lets_another_through, array(1, -1))
    assert error.operator == "sqrt" and is_at(error, guards_one_and_lets_another_through, "# here")


def selects_the_later_one(x):
    first = lm.log(x)
    second = lm.asin(x - 5)  # here
    return lm.where(x > 5, first, second)


def test_of_two_nans_that_meet_the_one_that_is_selected_is_named():
    error = error_of(selects_the_later_one, array(-1, 2))
    assert error.operator == "asin" and is_at(error, selects_the_later_one, "# here")


# ---- inputs and constants --------------------------------------------------------------------------------------------
def test_an_input_that_holds_nans_is_named():
    error = error_of(lambda x, scale: x * scale, array(1, 2), array(np.nan, 1))
    assert (error.input, error.operator) == ("scale", "")
    assert error.message == ("the output 'out0' holds a NaN that the input 'scale': f32[2] brought in\n"
                             "  1 of 2 elements is a NaN, the first at [0]")


def test_an_input_whose_nans_are_replaced_is_fine():
    np.testing.assert_array_equal(lm.jit(lm.nan_to_num, options=CHECKED)(array(np.nan, 1)), [0, 1])


def test_a_constant_that_holds_nans_is_named():
    table = array(*range(40), np.nan)
    error = error_of(lambda x: x * table, np.ones(41, np.float32))
    assert error.operator == "constant" and "a constant of the model holds it" in str(error)


# ---- backward --------------------------------------------------------------------------------------------------------
def takes_a_root(x):
    return lm.sum(lm.sqrt(x * x))  # here


def test_backward_code_is_told_from_forward_code():
    error = error_of(lm.grad(takes_a_root), array(1, 0))
    assert is_at(error, takes_a_root, "# here")
    assert error.message == (
        "the output 'out0' holds a NaN, born in mul in the backward code of mul\n"
        "  mul gives f32[2]: 1 of 2 elements is a NaN, the first at [1], of inf, 0\n"
        "  no operand holds a NaN: f32[2] within 0.5 .. inf, f32[2] within 0 .. 1\n"
        f"  the infinity was born in div in the backward code of sqrt at {error.location}")
    assert "the derivative of sqrt is not finite there" in error.hint


def guards_the_result_alone(x):
    return lm.sum(lm.where(x > 0, lm.sqrt(x), 0))  # here


def test_a_guard_that_comes_too_late_for_the_derivative_is_explained():
    assert lm.jit(guards_the_result_alone, options=CHECKED)(array(4, 0)) == 2
    error = error_of(lm.grad(guards_the_result_alone), array(4, 0))
    assert error.backward_of == "sqrt" and is_at(error, guards_the_result_alone, "# here")
    assert "lm.where behind sqrt comes too late" in error.hint


@lm.custom_vjp
def root(x):
    return lm.sqrt(x)


def backward(x, cotangent):
    return (cotangent * lm.log(x),)  # here


root.defvjp(lambda x: (lm.sqrt(x), x), backward)


def test_a_rule_of_the_users_is_backward_code():
    error = error_of(lm.grad(lambda x: root(x) * 0), np.float32(0))
    assert error.operator == "mul"
    assert error.backward_of == "custom_vjp" and "log in the backward code of custom_vjp" in error.message
    assert is_at(error, backward, "# here")


def test_forward_mode_names_the_users_line():
    error = error_of(lambda x, t: lm.jvp(takes_a_root, (x,), (t,))[1], array(1, 0), array(1, 1))
    assert is_at(error, takes_a_root, "# here") and error.backward_of == ""


# ---- loops and branches ----------------------------------------------------------------------------------------------
def divides_in_a_scan(carry, xs):
    def step(carry, x):
        return carry + x / (x * carry), carry  # here
    return lm.scan(step, carry, xs)


def test_the_iteration_of_a_scan_is_named():
    error = error_of(divides_in_a_scan, np.float32(1), array(1, 2, -3, 0, 4))
    assert error.operator == "div" and is_at(error, divides_in_a_scan, "# here")
    assert f"in iteration 3 of the scan at {__file__}" in error.message


def test_the_backward_half_of_a_scan():
    def loss(xs):
        return lm.scan(lambda carry, x: (carry + lm.sqrt(x), ()), np.float32(0), xs)[0] * 0
    error = error_of(lm.grad(loss), array(1, 4, 0, 9))
    assert error.backward_of and "backward code of sqrt" in error.message
    assert "in iteration 2 of the scan" in error.message


def test_while_loops_and_branches():
    def shrinks(x):
        return lm.while_loop(lambda carry: carry[0] < 5, lambda carry: (carry[0] + 1, lm.sqrt(carry[1] - 1)), (0, x))
    error = error_of(shrinks, array(3))
    assert error.operator == "sqrt" and "in iteration 2 of the while" in error.message

    def branches(x):
        return lm.cond(x[0] > 0, lambda v: lm.log(v - 5), lambda v: v, x)
    assert error_of(branches, array(3)).operator == "log"
    np.testing.assert_array_equal(lm.jit(branches, options=CHECKED)(array(-3)), [-3])


def test_a_nan_that_ends_a_loop_is_found_in_what_it_leaves():
    def halves(x):
        return lm.while_loop(lambda x: x < 1, lambda x: lm.log(x) * 0.5, x)
    assert error_of(halves, np.float32(0.5)).operator == "log"


@pytest.mark.parametrize("wrap", [
    lambda f: lm.jit(f), lm.vmap, lm.checkpoint, lambda f: lambda x: lm.fori_loop(0, 3, lambda i, c: f(x) + c * 0, x),
    lambda f: lambda x: lm.scan(lambda c, row: (c, lm.scan(lambda c, x: (c, f(x)), c, row)[1]), 0.0, x[None])[1],
    lambda f: lambda x: lm.switch(1, [lambda x: x, f], x),
    lambda f: lambda x: lm.grad(lambda x: lm.sum(lm.checkpoint(f)(x)))(x),
    lambda f: lambda x: lm.jacrev(f)(x), lambda f: lambda x: lm.vmap(lm.grad(f))(x)],
    ids=["jit", "vmap", "checkpoint", "fori_loop", "scan of scans", "switch", "grad of checkpoint", "jacobian",
         "vmap of grad"])
def test_whatever_is_around_it(wrap):
    error = error_of(wrap(takes_the_inner_root), array(4, -9, 1))
    assert is_at(error, takes_the_inner_root, "# here") and "sqrt" in (error.operator, error.backward_of)
    assert "1 of 3 elements is a NaN, the first at [1]" in error.message or "1 of 1 elements" in error.message


def takes_the_inner_root(x):
    return lm.sqrt(x) + 1  # here


# ---- training --------------------------------------------------------------------------------------------------------
def test_a_step_with_donated_arguments_leaves_them_as_they_were():
    def step(weights, x):
        loss, gradient = lm.value_and_grad(lambda w: lm.sum(lm.cosh(x @ w)))(weights)
        return weights - 100 * gradient, loss
    run = lm.jit(step, donate_argnums=0, options=CHECKED)
    weights, x = np.full((3, 2), 0.5, np.float32), np.array([[1, -2, 3]], np.float32)
    with pytest.raises(lm.NanError) as caught:
        for _ in range(20):
            before = weights
            kept = weights.copy()
            weights, _ = run(weights, x)
    assert caught.value.operator
    np.testing.assert_array_equal(before, kept)


def test_fit_takes_the_option():
    def loss(model, batch, key):
        return lm.sum(lm.log(model["w"] * batch["x"]))  # here
    batches = [{"x": array(1)}, {"x": array(-1)}]
    with pytest.raises(lm.NanError) as caught:
        lm.train.fit(loss, {"w": array(1)}, lm.optim.SGD(0.0), batches, epochs=1, progress=False, options=CHECKED)
    assert caught.value.operator == "log" and is_at(caught.value, loss, "# here")
    with pytest.raises(lm.LaminaError, match="the loss is nan in epoch 1, batch 2.*\n.*check_nans=True"):
        lm.train.fit(loss, {"w": array(1)}, lm.optim.SGD(0.0), batches, epochs=1, progress=False)


def test_a_loss_scale_may_meet_nans_that_no_parameter_gets():
    def step(w, x):
        gradient = lm.grad(lambda w: lm.sum(lm.sqrt(w * x)))(w)
        return lm.select_tree(lm.all_finite(gradient), w - gradient, w)
    np.testing.assert_array_equal(lm.jit(step, options=CHECKED)(array(1, 0), array(1, 0)), [1, 0])


# ---- what it costs, and where it ends --------------------------------------------------------------------------------
def test_native_code_is_the_same_with_and_without():
    spec = lm.TensorSpec((5, 3))
    plain, checked = (lm.compile(takes_a_logarithm, spec, options=o) for o in (lm.Options(), CHECKED))
    assert plain.artifact.objects == checked.artifact.objects and plain.artifact.manifest == checked.artifact.manifest
    assert type(plain) is lm.Executable


def test_what_comes_from_the_cache_explains_as_well(tmp_path):
    from lamina.frontends.cached import compile_cached
    from lamina.frontends.compile import loaded
    from lamina.runtime.cache import DiskCache
    messages = []
    for _ in range(2):
        artifact = compile_cached(takes_a_logarithm, lm.TensorSpec((3,)), options=CHECKED,
                                  cache=DiskCache(tmp_path, 1 << 30))
        with pytest.raises(lm.NanError) as caught:
            loaded(artifact, CHECKED)(array(1, -0.5, 3))
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and type(artifact.texts).__name__ == "TextsOnDemand"


def test_a_program_that_is_checked_is_not_saved_or_built(tmp_path):
    exe = lm.compile(takes_a_logarithm, lm.TensorSpec((3,)), options=CHECKED)
    refused = "can't be saved or built(.|\n)*leave check_nans out"
    with pytest.raises(lm.UnsupportedError, match=refused):
        exe.save(tmp_path / "m.lam")
    for model, choices in ((exe, {}), (takes_a_logarithm, {"options": CHECKED})):
        with pytest.raises(lm.UnsupportedError, match=refused):
            lm.build(model, tmp_path / "m.lam", *([] if model is exe else [lm.TensorSpec((3,))]), **choices)
    with pytest.raises(lm.UnsupportedError, match=refused):
        lm.build(lambda w: w * 2, tmp_path / "libm.so", array(1), state=0, options=CHECKED)
    assert list(tmp_path.iterdir()) == []


def test_a_nan_that_only_native_code_makes_is_bisected(monkeypatch):
    from lamina.compiler.ops.elementwise import Sqrt, Tanh
    monkeypatch.setattr(Tanh, "scalar", lambda self, x: Sqrt().scalar(x))
    error = error_of(lambda x: lm.tanh(x) + 1, array(-1, 1))
    assert error.operator == "" and "the operators' references don't give" in error.message and "tanh" in error.message
