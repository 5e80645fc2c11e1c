"""Do optimizers take torch's steps, leave alone what is frozen, and trace?"""

import math
from dataclasses import replace

import numpy as np
import pytest

import lamina as lm

optim, random = lm.optim, lm.random
STEPS = 7


def parameters(dtype="float64"):
    rng = np.random.default_rng(0)
    return {"matrix": rng.standard_normal((5, 3)).astype(dtype), "bias": rng.standard_normal(3).astype(dtype),
            "filters": rng.standard_normal((2, 3, 3, 3)).astype(dtype), "scalar": np.array(0.5, dtype)}


def gradients(params, steps=STEPS):
    rng = np.random.default_rng(1)
    return [{name: rng.standard_normal(p.shape).astype(p.dtype) for name, p in params.items()} for _ in range(steps)]


def run(optimizer, params, grads, update=None):
    update = update or optimizer.update
    state = optimizer.init(params)
    for g in grads:
        params, state = update(g, state, params)
    return params, state


TORCH = {
    "SGD": (optim.SGD(0.1), "SGD", dict(lr=0.1)),
    "SGD decay": (optim.SGD(0.1, weight_decay=0.1), "SGD", dict(lr=0.1, weight_decay=0.1)),
    "SGD momentum": (optim.SGD(0.1, 0.9, weight_decay=0.1), "SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.1)),
    "SGD Nesterov": (optim.SGD(0.1, 0.9, nesterov=True), "SGD", dict(lr=0.1, momentum=0.9, nesterov=True)),
    "SGD dampening": (optim.SGD(0.1, 0.9, dampening=0.3), "SGD", dict(lr=0.1, momentum=0.9, dampening=0.3)),
    "AdaGrad": (optim.AdaGrad(0.1), "Adagrad", dict(lr=0.1)),
    "AdaGrad all": (optim.AdaGrad(0.1, 0.2, 0.1, 0.5), "Adagrad",
                    dict(lr=0.1, lr_decay=0.2, weight_decay=0.1, initial_accumulator_value=0.5)),
    "RMSProp": (optim.RMSProp(), "RMSprop", dict(lr=0.01)),
    "RMSProp all": (optim.RMSProp(0.01, 0.9, weight_decay=0.1, momentum=0.8, centered=True), "RMSprop",
                    dict(lr=0.01, alpha=0.9, weight_decay=0.1, momentum=0.8, centered=True)),
    "Adam": (optim.Adam(0.01), "Adam", dict(lr=0.01)),
    "Adam all": (optim.Adam(0.01, 0.8, 0.99, 1e-6, 0.1, True), "Adam",
                 dict(lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, amsgrad=True)),
    "AdamW": (optim.AdamW(0.01), "AdamW", dict(lr=0.01, weight_decay=0.01)),
    "AdamW amsgrad": (optim.AdamW(0.01, weight_decay=0.3, amsgrad=True), "AdamW",
                      dict(lr=0.01, weight_decay=0.3, amsgrad=True)),
    "Adafactor": (optim.Adafactor(0.05), "Adafactor", dict(lr=0.05)),
    "Adafactor all": (optim.Adafactor(0.5, -0.7, 1e-5, 1e-2, 1.1, 0.1), "Adafactor",
                      dict(lr=0.5, beta2_decay=-0.7, eps=(1e-5, 1e-2), d=1.1, weight_decay=0.1)),
}


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", TORCH)
def test_steps_are_those_of_torch(name, dtype, tolerance):
    torch = pytest.importorskip("torch")
    optimizer, kind, options = TORCH[name]
    params = parameters(dtype)
    theirs = {n: torch.nn.Parameter(torch.tensor(p)) for n, p in params.items()}
    reference = getattr(torch.optim, kind)(theirs.values(), **options)
    compiled = lm.jit(optimizer.update)
    state = optimizer.init(params)
    ours, ours_state = params, state
    for grads in gradients(params):
        for n, p in theirs.items():
            p.grad = torch.tensor(grads[n])
        reference.step()
        params, state = optimizer.update(grads, state, params)
        ours, ours_state = compiled(grads, ours_state, ours)
        for n, p in theirs.items():
            for mine in (params[n], ours[n]):
                assert mine.dtype == dtype
                np.testing.assert_allclose(mine, p.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert state["step"] == ours_state["step"] == STEPS and compiled.cache_size() == 1


def test_lion_follows_its_paper():
    params = parameters()
    optimizer = optim.Lion(0.01, 0.8, 0.9, 0.1)
    expected, momentum = dict(params), {n: 0 * p for n, p in params.items()}
    for grads in gradients(params):
        for n, g in grads.items():
            direction = np.sign(0.8 * momentum[n] + (1 - 0.8) * g)
            expected[n] = expected[n] - 0.01 * (direction + 0.1 * expected[n])
            momentum[n] = 0.9 * momentum[n] + (1 - 0.9) * g
    got, _ = run(optimizer, params, gradients(params))
    for n in params:
        np.testing.assert_allclose(got[n], expected[n], rtol=1e-12)


def test_lamb_follows_its_paper():
    params = parameters() | {"zero": np.zeros(4)}
    expected = dict(params)
    first, second = ({n: 0 * p for n, p in params.items()} for _ in range(2))
    for t, grads in enumerate(gradients(params), 1):
        for n, g in grads.items():
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.99 * second[n] + 0.01 * g * g
            step = first[n] / (1 - 0.9 ** t) / (np.sqrt(second[n] / (1 - 0.99 ** t)) + 1e-6) + 0.1 * expected[n]
            own, length = np.linalg.norm(expected[n].ravel()), np.linalg.norm(step.ravel())
            expected[n] = expected[n] - 0.01 * (own / length if own > 0 and length > 0 else 1) * step
    got, _ = run(optim.LAMB(0.01, beta2=0.99, weight_decay=0.1), params, gradients(params))
    for n in params:
        np.testing.assert_allclose(got[n], expected[n], rtol=1e-10)


ALL = [optim.SGD(0.1), optim.SGD(0.1, 0.9, True, 0.1), optim.Lion(), optim.AdaGrad(), optim.RMSProp(centered=True),
       optim.Adam(amsgrad=True), optim.AdamW(), optim.LAMB(), optim.Adafactor()]


@pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)
def test_what_is_frozen_stays(optimizer):
    params = {"a": np.ones((2, 3), np.float32), "b": [np.ones(3, np.float32), np.ones(2, np.float32)], "none": None,
              "count": np.arange(3)}
    grads = {"a": np.ones((2, 3), np.float32), "b": None, "none": None, "count": None}
    chosen_parts = {"a": True, "b": False, "none": True, "count": True}
    for chosen, given in ((optimizer, grads), (replace(optimizer, trainable=chosen_parts), params),
                          (replace(optimizer, trainable=lambda path, p: path == "['a']"), params)):
        state = chosen.init(params)
        for update in (chosen.update, lm.jit(chosen.update)):
            new, new_state = update(given, state, params)
            assert not np.array_equal(new["a"], params["a"])
            assert lm.tree.structure(new) == lm.tree.structure(params)
            assert lm.tree.structure(new_state) == lm.tree.structure(state)
            for got, kept in zip((*new["b"], new["count"]), (*params["b"], params["count"])):
                np.testing.assert_array_equal(got, kept)
    accumulators = {name: tree for name, tree in state.items() if name != "step"}
    assert all(lm.tree.leaves(tree["b"]) == [] and tree["count"] is None for tree in accumulators.values())


@pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_parameters_are_computed_with_in_float32(optimizer, dtype):
    kind = getattr(lm, dtype).numpy
    params = {"w": parameters("float32")["matrix"].astype(kind)}
    grads = [{"w": g["matrix"].astype(kind)} for g in gradients(parameters("float32"), 1)]
    got, state = run(optimizer, params, grads)
    wide, wide_state = run(optimizer, lm.tree.map(lambda x: x.astype(np.float32), params),
                           lm.tree.map(lambda x: x.astype(np.float32), grads))
    assert got["w"].dtype == kind
    np.testing.assert_array_equal(got["w"], wide["w"].astype(kind))
    for a, b in zip(lm.tree.leaves(state), lm.tree.leaves(wide_state)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)
def test_odd_shapes(optimizer):
    params = {"empty": np.zeros((0, 3), np.float32), "one": np.ones((1, 1), np.float32), "scalar": np.float32(2),
              "prime": np.ones((7, 13), np.float32)}
    got, state = run(optimizer, params, [lm.tree.map(np.ones_like, params)] * 2)
    for name, p in params.items():
        assert got[name].shape == p.shape and np.isfinite(got[name]).all() and (p.size == 0 or (got[name] < p).all())


def test_decay_where_it_is_asked_for():
    params = parameters()
    zero = lm.tree.map(np.zeros_like, params)
    got, _ = run(optim.AdamW(0.1, weight_decay=0.5, decayed=lambda path, p: p.ndim > 1), params, [zero])
    for name, p in params.items():
        np.testing.assert_allclose(got[name], p * 0.95 if p.ndim > 1 else p)


def test_rates_are_numbers_schedules_arrays_or_traced():
    params = parameters("float32")
    grads = gradients(params, 3)
    expected, _ = run(optim.Adam(0.01), params, grads)
    for rate in (lambda step: 0.01, optim.schedules.constant(0.01), np.float64(0.01), np.array(0.01)):
        got, _ = run(optim.Adam(rate), params, grads)
        for name in params:
            assert got[name].dtype == np.float32
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-6)
    @lm.jit
    def step(rate, grads, state, params):
        return optim.Adam(rate).update(grads, state, params)
    got, _ = run(optim.Adam(0.01), params, grads, lambda *trees: step(np.float32(0.01), *trees))
    np.testing.assert_allclose(got["matrix"], expected["matrix"], rtol=1e-6)
    halving = optim.SGD(lambda step: 0.5 ** step, momentum=lambda step: 0.0 * step)
    got, _ = run(halving, {"x": np.zeros(2)}, [{"x": np.ones(2)}] * 3)
    np.testing.assert_allclose(got["x"], -1.75)


@pytest.mark.parametrize("make", [optim.Adam, optim.LAMB, optim.Adafactor, lambda rate: optim.SGD(rate, momentum=0.9),
                                  lambda rate: optim.Lion(lambda step: rate * 0.5 ** step)])
def test_many_rates_at_once(make):
    target = np.arange(5, dtype=np.float32)
    def train(rate):
        optimizer, params = make(rate), {"x": lm.ones(5)}
        def body(carry, _):
            params, state = carry
            return optimizer.update({"x": 2 * (params["x"] - target)}, state, params), None
        return lm.scan(body, (params, optimizer.init(params)), None, STEPS)[0][0]["x"]
    rates = np.array([0.01, 0.1, 0.3], np.float32)
    expected = np.stack([lm.jit(train)(rate) for rate in rates])
    np.testing.assert_allclose(lm.jit(lm.vmap(train))(rates), expected, rtol=1e-5)
    assert len(np.unique(expected[:, 0])) == 3


@pytest.mark.parametrize("optimizer", [o for o in ALL if not isinstance(o, (optim.LAMB, optim.Adafactor))],
                         ids=lambda o: type(o).__name__)
def test_an_update_reads_and_writes_everything_once(optimizer):
    params = {f"w{i}": np.ones((64, 32 + i), np.float32) for i in range(5)}
    executable = lm.jit(optimizer.update, donate_argnums=(1, 2)).compile(params, optimizer.init(params), params)
    assert len(executable.kernels) <= len(params) + 1  # one for each parameter, one for what all share
    assert executable.memory.arena_bytes <= 4096


def test_nothing_is_written_into_and_accumulators_have_memory_of_their_own():
    params = parameters()
    state = optim.Adam().init(params)
    assert len({id(x) for x in lm.tree.leaves(state)}) == len(lm.tree.leaves(state))
    for tree in (params, state):
        for x in lm.tree.leaves(tree):
            x.flags.writeable = False
    run(optim.Adam(), params, gradients(params))
    optim.Adam().update(gradients(params)[0], state, params)


def test_one_program_minimizes_a_function():
    target = np.arange(5, dtype=np.float32)
    for optimizer in (optim.SGD(0.2, 0.5), optim.Adam(0.3), optim.Lion(optim.schedules.linear(0.3, 0.0, 200))):
        @lm.jit
        def train(params):
            def body(carry, _):
                params, state = carry
                return optimizer.update({"x": 2 * (params["x"] - target)}, state, params), None
            return lm.scan(body, (params, optimizer.init(params)), None, 200)[0]
        params, state = train({"x": np.zeros(5, np.float32)})
        np.testing.assert_allclose(params["x"], target, atol=0.02)
        assert state["step"] == 200


def test_what_does_not_fit_is_told():
    params, optimizer = parameters("float32"), optim.Adam()
    state = optimizer.init(params)
    grads = gradients(params, 1)[0]
    with pytest.raises(lm.ShapeError, match=r"gradient of \['bias'\] has shape \[2\], its parameter \[3\]"):
        optimizer.update(grads | {"bias": np.zeros(2, np.float32)}, state, params)
    with pytest.raises(lm.DTypeError, match=r"gradient of \['bias'\] is int64"):
        optimizer.update(grads | {"bias": np.zeros(3, np.int64)}, state, params)
    with pytest.raises(lm.LaminaError, match="the gradients and the tree that they are for differ"):
        optimizer.update({"matrix": grads["matrix"]}, state, params)
    with pytest.raises(lm.LaminaError, match=r"state of the parameter\['bias'\] has no 'first', which Adam keeps"):
        optimizer.update(grads, optim.Lion().init(params), params)
    with pytest.raises(lm.LaminaError, match="the state's 'first' and the parameters differ"):
        optimizer.update(grads, optimizer.init({"other": np.zeros(3)}), params)
    with pytest.raises(lm.LaminaError, match="a selection of parameters"):
        optim.Adam(trainable={"matrix": True}).init(params)


# ---- clipping --------------------------------------------------------------------------------------------------------
def test_clipping_by_norm_is_that_of_torch():
    torch = pytest.importorskip("torch")
    grads = gradients(parameters("float32"), 1)[0]
    for limit in (0.5, 1e3):
        theirs = {n: torch.nn.Parameter(torch.zeros(g.shape)) for n, g in grads.items()}
        for n, p in theirs.items():
            p.grad = torch.tensor(grads[n])
        norm = torch.nn.utils.clip_grad_norm_(theirs.values(), limit)
        for clip in (optim.clip_by_global_norm, lm.jit(optim.clip_by_global_norm)):
            clipped, before = clip(grads, limit)
            np.testing.assert_allclose(before, norm.item(), rtol=1e-6)
            for n, p in theirs.items():
                np.testing.assert_allclose(clipped[n], p.grad.numpy(), rtol=1e-5)


def test_clipping_keeps_dtypes_and_none():
    grads = {"h": np.full(4, 3, lm.bfloat16.numpy), "d": np.full(4, 4.0), "none": None}
    clipped, norm = optim.clip_by_global_norm(grads, 5.0)
    assert norm == 10 and clipped["none"] is None
    assert clipped["h"].dtype == "bfloat16" and clipped["d"].dtype == np.float64
    assert math.isclose(float(optim.global_norm(clipped)), 5, rel_tol=1e-2)
    assert optim.global_norm({}) == 0
    assert np.isnan(optim.global_norm([np.array([np.nan])]))
    limited = optim.clip_by_value(grads, 3.5)
    assert limited["d"].tolist() == [3.5] * 4 and limited["h"].dtype == "bfloat16"
