"""Is the optimizer one kernel of a training step?  Updates ride in the kernels that make the gradients, or are that one."""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler import pipeline
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.driver import planned
from lamina.compiler.plan.program import walk_launches
from lamina.compiler.plan.work import group_nodes
from lamina.compiler.targets.find import find_target

optim = lm.optim
rng = np.random.default_rng(0)


def program_of(graph, donate=()):
    """The program that the driver makes of `graph`."""
    target, options = find_target("host"), lm.Options()
    return planned(pipeline.run_pipeline(graph, target, options, Remarks()), target, options, donate)


def drawn(*shape):
    return rng.standard_normal(shape).astype(np.float32) * 0.3


def linear(p, x):
    return x @ p["w"].T + p["b"]


def mlp():
    def network(params, x):
        for p in params[:-1]:
            x = lm.relu(linear(p, x))
        return linear(params[-1], x)
    sizes = (19, 32, 24, 7)
    return network, [{"w": drawn(n, m), "b": drawn(n)} for m, n in zip(sizes, sizes[1:])], drawn(16, 19)


def cnn():
    def network(p, x):
        for name in ("one", "two"):
            x = lm.max_pool(lm.relu(lm.conv(x, p[name]["w"], padding=1) + p[name]["b"][:, None, None]), 2)
        return linear(p["out"], lm.reshape(x, (len(x), -1)))
    params = {"one": {"w": drawn(8, 1, 3, 3), "b": drawn(8)}, "two": {"w": drawn(16, 8, 3, 3), "b": drawn(16)},
              "out": {"w": drawn(7, 64), "b": drawn(7)}}
    return network, params, drawn(4, 1, 8, 8)


def transformer():
    def network(params, x):
        x = lm.take(params["embedding"], x, axis=0) + params["position"]
        for p in params["layers"]:
            heads = lm.reshape(linear(p["qkv"], lm.layer_norm(x, p["n1"]["w"], p["n1"]["b"])), (*x.shape[:2], 3, 2, -1))
            q, k, v = lm.unstack(lm.transpose(heads, (2, 0, 3, 1, 4)))
            weights = lm.softmax(q @ lm.matrix_transpose(k) * 0.35, axis=-1)
            x = x + linear(p["o"], lm.reshape(lm.swapaxes(weights @ v, 1, 2), x.shape))
            x = x + linear(p["f2"], lm.gelu(linear(p["f1"], lm.layer_norm(x, p["n2"]["w"], p["n2"]["b"]))))
        return linear(params["out"], lm.layer_norm(lm.mean(x, axis=1), params["n"]["w"], params["n"]["b"]))

    def dense(m, n):
        return {"w": drawn(n, m), "b": drawn(n)}

    def norm():
        return {"w": np.ones(16, np.float32), "b": np.zeros(16, np.float32)}
    layers = [{"n1": norm(), "qkv": dense(16, 48), "o": dense(16, 16),
               "n2": norm(), "f1": dense(16, 64), "f2": dense(64, 16)} for _ in range(4)]
    params = {"embedding": drawn(11, 16), "position": drawn(9, 16), "layers": layers, "n": norm(), "out": dense(16, 7)}
    return network, params, rng.integers(0, 11, (4, 9))


def step_of(model, optimizer, clip):
    """(the step, its arguments)."""
    network, params, x = model()
    y = rng.integers(0, 7, len(x))

    def loss(params, x, y):
        chances = lm.log_softmax(network(params, x), axis=-1)
        return -lm.mean(lm.take_along_axis(chances, y[:, None], axis=1))

    def update_parameters(gradients, state, params):
        gradients = optim.clip_by_global_norm(gradients, 0.5)[0] if clip else gradients
        return optimizer.update(gradients, state, params)

    def step(params, state, x, y):
        value, gradients = lm.value_and_grad(loss)(params, x, y)
        return *update_parameters(gradients, state, params), value
    return step, (params, optimizer.init(params), x, y)


def traced_step(model, optimizer, clip):
    """(the graph, how many of its arguments are donated, arrays for all)."""
    step, args = step_of(model, optimizer, clip)
    return lm.trace(step, *args), len(lm.tree.leaves(args[:2])), [np.array(a) for a in lm.tree.leaves(args)]


def update_kernels(program):
    """The launches that make parameters, or what is remembered of them, and nothing else: no gradient, no norm."""
    def is_update(launch):
        nodes = [n for n in group_nodes(launch.group) if not n.op.is_view and str(n.location)]
        return (all("update_parameters" in str(n.location) and n.op.name != "reduce" for n in nodes)
                and any(p.storage.kind == "output" and p.shape != () for p in launch.places))
    return [launch for launch in walk_launches(program.steps) if is_update(launch)]


CASES = [(mlp, optim.SGD(0.1), False, 0), (mlp, optim.Adam(0.1), False, 0), (mlp, optim.AdamW(0.1), True, 1),
         (cnn, optim.SGD(0.1, 0.9), False, 1), (cnn, optim.Adam(0.1), True, 1), (cnn, optim.AdamW(0.1), False, 1),
         (transformer, optim.SGD(0.1), False, 1), (transformer, optim.Adam(0.1), False, 1),
         (transformer, optim.AdamW(0.1), True, 1),
         (transformer, optim.Lion(0.1), False, 1), (transformer, optim.RMSProp(0.1), True, 1)]


@pytest.mark.parametrize("model, optimizer, clip, count", CASES,
                         ids=[f"{m.__name__} {type(o).__name__}{' clipped' * c}" for m, o, c, _ in CASES])
def test_the_optimizer_is_one_kernel(model, optimizer, clip, count):
    graph, donated, _ = traced_step(model, optimizer, clip)
    program = program_of(graph, donate=tuple(range(donated))).verify()
    assert len(update_kernels(program)) == count


def test_no_transpose_is_materialized_in_an_mlp_s_backward():
    graph, donated, _ = traced_step(mlp, optim.Adam(0.1), False)
    program = program_of(graph, donate=tuple(range(donated)))
    computed = [[n for n in group_nodes(launch.group) if not n.op.is_view and n.op.name != "cast"]
                for launch in walk_launches(program.steps)]
    assert all(computed)  # each kernel computes: none of them only moves elements
    assert sum(n.op.name == "contract" for nodes in computed for n in nodes) == 3 + 3 + 2


@pytest.mark.parametrize("model, optimizer, clip", [(m, o, c) for m, o, c, count in CASES if count],
                         ids=[f"{m.__name__} {type(o).__name__}{' clipped' * c}" for m, o, c, count in CASES if count])
def test_one_kernel_takes_the_steps_of_many(model, optimizer, clip, monkeypatch):
    graph, donated, arrays = traced_step(model, optimizer, clip)
    together = lm.compile(graph, donate=tuple(range(donated)))
    monkeypatch.setattr(pipeline, "STAGES", tuple(s for s in pipeline.STAGES if s.name != "fuse-horizontal"))
    alone = lm.compile(graph, donate=tuple(range(donated)))
    assert len(together.kernels) < len(alone.kernels)
    assert together.memory.arena_bytes <= alone.memory.arena_bytes + 1024
    results = []
    for executable, threads in ((alone, 1), (together, 1), (together, 2)):
        state = [a.copy() for a in arrays]
        for _ in range(3):
            *state[:donated], value = executable(*state, threads=threads)
        results.append([*state, value])
    for one, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(np.atleast_1d(one).view(np.uint8), np.atleast_1d(other).view(np.uint8))


def test_results_lie_where_the_donated_parameters_did():
    graph, donated, _ = traced_step(transformer, optim.Adam(0.1), True)
    program = program_of(graph, donate=tuple(range(donated)))
    assert [port.shares for port in program.outputs] == [*range(donated), None]


def test_accumulated_gradients_are_one_kernel():
    def step(params, parts):
        def add(total, part):
            gradient = lm.grad(lambda p: lm.sum(lm.tanh(p["a"] * part)) + lm.sum(p["b"] ** 3))(params)
            return lm.tree.map(lambda t, g: t + g, total, gradient), None
        return lm.scan(add, lm.tree.map(lm.zeros_like, params), parts)[0]
    params = {"a": drawn(7), "b": drawn(3, 5)}
    graph = lm.trace(step, params, drawn(4, 7))
    (loop,) = [s for s in program_of(graph).verify().steps if hasattr(s, "counter")]
    assert sum(launch.group.kind == "horizontal" for launch in walk_launches(loop.steps)) == 1
    arrays = [np.array(a) for a in lm.tree.leaves((params, drawn(4, 7)))]
    for got, want in zip(lm.compile(graph)(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
