"""Does fit train, watch, stop, and go on after an interruption with the same bits?"""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import lamina as lm
from lamina.frontends.train import checkpoint as checkpoints

nn, optim, train = lm.nn, lm.optim, lm.train
RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 5)).astype(np.float32)
Y = (X @ RNG.standard_normal((5, 3)).astype(np.float32)).argmax(1)


def network(width=8):
    first, second = lm.random.split(lm.random.key(1))
    return nn.Sequential(nn.Linear(5, width, key=first), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1),
                         nn.Linear(width, 3, key=second))


def loss(model, batch, key):
    logits, model = nn.apply(model, batch["x"], key=key)
    return nn.cross_entropy(logits, batch["y"]), model, {"accuracy": lm.mean(lm.argmax(logits, axis=1) == batch["y"])}


def linear():
    return {"w": np.zeros((5, 3), np.float32), "b": np.zeros(3, np.float32), "count": np.arange(2)}


def linear_loss(params, batch, key):
    return nn.cross_entropy(batch["x"] @ params["w"] + params["b"], batch["y"])


def batches(drop_last=True, **options):
    return lm.data.Batches({"x": X, "y": Y}, 16, shuffle=True, seed=3, drop_last=drop_last, **options)


def evaluation():
    return train.Evaluation(lambda model, batch: (model(batch["x"]), batch["y"]), lm.data.Batches({"x": X, "y": Y}, 40),
                            {"accuracy": train.Accuracy(), "confusion": train.ConfusionMatrix(3)})


def same(a, b):
    a, b = lm.tree.flatten(a), lm.tree.flatten(b)
    return a[1] == b[1] and all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(a[0], b[0]))


def test_a_model_learns_and_the_history_tells():
    model = network()
    before = lm.tree.map(np.copy, model)
    seen = []
    result = train.fit(loss, model, optim.Adam(0.02), batches(), epochs=14, validation=evaluation(), clip_norm=1.0,
                       on_epoch=lambda epoch, values: seen.append((epoch, values["loss"])))
    assert set(result.history) == {"loss", "accuracy", "gradient norm", "validation.accuracy", "validation.confusion"}
    assert result.epochs == 14 and all(len(v) == 14 for v in result.history.values())
    assert result.history["validation.accuracy"][-1] > 0.9
    assert result.history["loss"][-1] < result.history["loss"][0] / 2
    assert seen == list(enumerate(result.history["loss"]))
    assert np.sum(result.history["validation.confusion"][-1]) == 90
    assert same(model, before), "the caller's model was written into"
    assert not np.array_equal(result.model[1].running_mean, model[1].running_mean)
    assert result.state.optimizer["step"] == 70


def test_a_step_is_one_program_for_each_shape():
    optimizer = optim.SGD(0.02)
    step = lm.jit(train.step(loss, optimizer), donate_argnums=0)
    state = train.start(network(), optimizer, key=5)
    for batch in batches(drop_last=False):
        state, logs = step(state, batch)
    assert step.cache_size() == 2 and set(logs) == {"loss", "accuracy"}  # the last batch is smaller
    by_hand = train.step(loss, optimizer)(train.start(network(), optimizer, key=5), next(iter(batches())))
    jitted = step(train.start(network(), optimizer, key=5), next(iter(batches())))
    for a, b in zip(lm.tree.leaves(by_hand), lm.tree.leaves(jitted)):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_losses_of_every_form_and_plain_trees():
    value = linear_loss
    forms = [value, lambda p, b, k: (value(p, b, k), p), lambda p, b, k: (value(p, b, k), None, {"seen": lm.ones(())})]
    results = [train.fit(form, linear(), optim.SGD(0.1), list(batches()), epochs=2) for form in forms]
    assert all(same(r.model, results[0].model) for r in results) and results[2].history["seen"] == [1, 1]
    assert results[0].model["count"].tolist() == [0, 1]
    for wrong in (lambda p, b, k: (value(p, b, k),), lambda p, b, k: (value(p, b, k), None, 3)):
        with pytest.raises(lm.TraceError, match="the loss"):
            train.fit(wrong, linear(), optim.SGD(0.1), batches(), epochs=1)


def test_only_what_is_named_is_trained():
    model = network()
    result = train.fit(loss, model, optim.SGD(0.1), batches(), epochs=1, trainable=lambda name: name.startswith("4"))
    moved = {name for name, p in nn.parameters(result.model).items() if not same(p, nn.parameters(model)[name])}
    assert moved == {n for n in nn.parameters(model) if "4" in n} and len(moved) == 2


def test_a_batch_in_parts_and_in_16_bits():
    def plain(model, batch, key):
        return nn.cross_entropy(model(batch["x"]), batch["y"]), model
    model = nn.Sequential(nn.Linear(5, 8, key=lm.random.key(1)), nn.Tanh(), nn.Linear(8, 3, key=lm.random.key(2)))
    options = dict(epochs=2, clip_norm=0.5)
    whole, in_parts, rounded = (train.fit(function, model, optim.SGD(0.1), batches(), parts=parts, **options)
                                for function, parts in ((plain, 1), (plain, 4), (lm.mixed_precision(plain), 1)))
    for a, b, c in zip(*(lm.tree.leaves(r.model) for r in (whole, in_parts, rounded))):
        np.testing.assert_allclose(b, a, atol=1e-6)
        np.testing.assert_allclose(c, a, atol=5e-3)
        assert c.dtype == np.float32
    assert not same(rounded.model, whole.model)
    def drawing(model, batch, key):
        return plain(model, batch, key)[0], model, {"draw": lm.random.uniform(key), "one": 1}
    drawn = train.fit(drawing, model, optim.SGD(0.1), batches(), parts=2, epochs=1)
    assert 0.2 < drawn.history["draw"][0] < 0.8 and drawn.history["one"] == [1.0]
    normalized = train.fit(loss, network(), optim.SGD(0.1), batches(), parts=2, epochs=1)
    assert not np.array_equal(normalized.model[1].running_mean, network()[1].running_mean)
    assert normalized.model[1].num_batches_tracked == 5 and normalized.model[1].num_batches_tracked.dtype == np.int64


# ---- going on --------------------------------------------------------------------------------------------------------
class Interrupted(Exception):
    pass


def noisy(batch, key):
    return batch | {"x": lm.data.augment.noise(key, batch["x"], 0.01)}


def noisy_loss(params, batch, key):
    return linear_loss(params, {**batch, "x": batch["x"] + lm.random.normal(key, (16, 5))}, key)


def interrupted(stop_after):
    """`noisy`, but for an error when more batches are asked for."""
    count = [0]
    def transform(batch, key):
        count[0] += 1
        if count[0] > stop_after:
            raise Interrupted
        return noisy(batch, key)
    return transform


@pytest.mark.parametrize("model, stop_after", [(linear, 1), (linear, 4), (linear, 10), (network, 13)])
def test_resuming_gives_the_same_bits(tmp_path, model, stop_after):
    path = tmp_path / "run.safetensors"
    options = dict(epochs=4, key=7, validation=lambda model: {"score": np.sin(np.sum(lm.tree.leaves(model)[0]))},
                   plateau=optim.Plateau(0.02, patience=0, threshold=0.5), checkpoint_every=2, clip_norm=1.0,
                   early_stopping=train.EarlyStopping("validation.score", 9, "max"))
    def run(transform, checkpoint=path, ahead=2, **more):
        return train.fit(loss if model is network else noisy_loss, model(), optim.Adam(0.02),
                         batches(transform=transform, ahead=ahead), checkpoint=checkpoint, **options | more)
    whole = run(noisy, checkpoint=None)
    with pytest.raises(Interrupted):
        run(interrupted(stop_after), ahead=0)
    assert path.exists() == (stop_after > 1)
    resumed = run(noisy)
    assert resumed.history == whole.history and whole.state.scale < 1
    assert same(resumed.state, whole.state) and same(resumed.model, whole.model)
    again = run(noisy)
    assert same(again.state, whole.state) and again.history == whole.history
    if model is linear:
        more = run(noisy, epochs=5)
        assert more.epochs == 5 and more.history["loss"][:4] == whole.history["loss"]


def test_resume_can_be_declined(tmp_path):
    path = tmp_path / "run.safetensors"
    first = train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=1, checkpoint=path)
    second = train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=1, checkpoint=path, resume=False)
    assert same(first.state, second.state)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=1, checkpoint=path)
    written = path.read_bytes()
    with pytest.raises(lm.LaminaError, match=r"another model or optimizer:\n  .*model.w is float32\[.*was expected"):
        train.fit(linear_loss, linear() | {"w": np.zeros((5, 4), np.float32)}, optim.Adam(0.02), batches(), epochs=2,
                  checkpoint=path)
    with pytest.raises(lm.LaminaError, match="momentum.* is missing"):
        train.fit(linear_loss, linear(), optim.SGD(0.02, 0.9), batches(), epochs=2, checkpoint=path)
    for cut in (0, 5, 100, len(written) // 2, len(written) - 1):
        path.write_bytes(written[:cut])
        with pytest.raises(lm.FormatError):
            train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=2, checkpoint=path)
    path.write_bytes(written)
    with pytest.raises(lm.LaminaError, match="with 5 batches an epoch, and there are 6"):
        train.fit(linear_loss, linear(), optim.Adam(0.02), batches(drop_last=False), epochs=2, checkpoint=path)
    first = 8 + int.from_bytes(written[:8], "little")
    for place in (first, first + 70, len(written) - 1):
        damaged = bytearray(written)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(lm.FormatError, match="is damaged"):
            train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=2, checkpoint=path)
    nn.save(network(), path)
    with pytest.raises(lm.FormatError, match="is no checkpoint"):
        train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=2, checkpoint=path)


def test_the_last_good_checkpoint_stays_on_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=1, checkpoint=path)
    written = path.read_bytes()
    def full(file, arrays):
        file.write(b"x" * 1000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(checkpoints, "write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=2, checkpoint=path)
    assert path.read_bytes() == written and os.listdir(tmp_path) == [path.name]


def test_a_run_that_is_killed_goes_on(tmp_path):
    path = tmp_path / "run.safetensors"
    program = textwrap.dedent("""
        import os, signal, sys
        import numpy as np, lamina as lm
        x = np.random.default_rng(0).standard_normal((40, 4)).astype("float32")
        def loss(params, batch, key):
            return lm.mean((batch @ params["w"] - lm.random.normal(key, (batch.shape[0],))) ** 2)
        def on_epoch(epoch, values):
            if epoch == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        result = lm.train.fit(loss, {"w": np.zeros(4, np.float32)}, lm.optim.SGD(0.1, 0.9),
                              lm.data.Batches(x, 8, shuffle=True), epochs=3, checkpoint=sys.argv[1], on_epoch=on_epoch)
        print(result.model["w"].tobytes().hex(), result.history)
    """)
    def run(name, epoch):
        return subprocess.run([sys.executable, "-c", program, str(tmp_path / name), str(epoch)], capture_output=True,
                              text=True, timeout=120)
    whole, killed = run("whole", -1), run(path.name, 1)
    assert whole.returncode == 0, whole.stderr
    assert killed.returncode == -signal.SIGKILL and path.exists()
    assert run(path.name, -1).stdout == whole.stdout


# ---- watching --------------------------------------------------------------------------------------------------------
def test_early_stopping_keeps_the_best():
    scores = iter([0.1, 0.5, 0.4, 0.45, 0.49, 0.9])
    models = []
    def validation(model):
        models.append(lm.tree.map(np.copy, model))
        return {"score": next(scores)}
    result = train.fit(linear_loss, linear(), optim.Adam(0.02), batches(), epochs=50, validation=validation,
                       early_stopping=train.EarlyStopping("validation.score", 3, "max"))
    assert result.epochs == 5 and same(result.model, models[1]) and same(result.state.model, models[4])
    stopping = train.EarlyStopping("x", change=0.1)
    assert stopping.best_epoch({"x": [1.0, 0.95, 0.8, 0.75]}) == 2
    assert train.EarlyStopping("x").best_epoch({"x": [float("nan"), 3.0, float("nan")]}) == 1
    with pytest.raises(lm.LaminaError, match="watches 'validation.lost'.*\n  hint: it has 'loss'"):
        train.fit(linear_loss, linear(), optim.Adam(), batches(), epochs=1,
                  early_stopping=train.EarlyStopping("validation.lost"))
    with pytest.raises(ValueError, match="no mode"):
        train.EarlyStopping(mode="least")


def test_a_schedule_and_a_plateau_go_together():
    params = {"w": np.float32(0)}
    def slope(params, batch, key):
        return params["w"]
    result = train.fit(slope, params, optim.SGD(lambda count: 0.5 ** count), [np.zeros(1)], epochs=3,
                       plateau=optim.Plateau(8.0, 0.5, patience=0), monitor="loss")
    # rates 1, 1/2, 1/4; the loss falls, so that the plateau leaves them
    assert result.model["w"] == -1.75 and result.state.scale == 1
    flat = train.fit(lambda p, b, k: p["w"] * 0 + 1, params, optim.SGD(1.0), [np.zeros(1)], epochs=3,
                     plateau=optim.Plateau(8.0, 0.5, patience=0))
    assert flat.state.scale == 0.25


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def broken(params, batch, key):
        return lm.log(params["w"] - batch[0])
    with pytest.raises(lm.LaminaError, match="the loss is nan in epoch 1, batch 2"):
        train.fit(broken, {"w": np.float32(1)}, optim.SGD(0.1), [np.zeros(1), np.full(1, 9.0)], epochs=1)


def test_what_can_not_be_done_is_told():
    with pytest.raises(lm.LaminaError, match="no batches to train on"):
        train.fit(linear_loss, linear(), optim.Adam(), [], epochs=1)
    once = iter(list(batches()))
    with pytest.raises(lm.LaminaError, match="used up after one epoch"):
        train.fit(linear_loss, linear(), optim.Adam(), once, epochs=2)
    with pytest.raises(lm.LaminaError, match="checkpoints within an epoch"):
        train.fit(linear_loss, linear(), optim.Adam(), list(batches()), epochs=2, checkpoint="x", checkpoint_every=2)


def test_progress_is_shown_when_it_is_asked_for(capsys):
    options = dict(epochs=2, validation=lambda model: {"score": 0.5})
    train.fit(linear_loss, linear(), optim.Adam(), batches(), **options)
    assert capsys.readouterr() == ("", "")
    train.fit(linear_loss, linear(), optim.Adam(), batches(), progress=True, **options)
    out, err = capsys.readouterr()
    assert out == "" and "epoch 1/2  " in err and "validation.score" in err and "5/5" in err


def test_a_history_is_drawn(tmp_path):
    import xml.etree.ElementTree as ElementTree
    history = {"loss": [2.0, 1.0, float("nan"), 0.25], "validation.loss": [2.5, 1.5, 1.2, 1.1], "accuracy": [0.5],
               "validation.confusion": [[[1, 2], [3, 4]]], "a < b": [1e-9, 3e9], "flat": [0.0, 0.0]}
    text = train.plot(history, tmp_path / "h.svg", title="A & B")
    assert (tmp_path / "h.svg").read_text() == text
    root = ElementTree.fromstring(text)
    words = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A & B", "loss", "accuracy", "a < b", "flat", "training", "validation"} <= set(words)
    assert "confusion" not in words
    curves = [p.get("d") for p in root.iter("{http://www.w3.org/2000/svg}path") if p.get("fill") == "none"]
    assert len(curves) == 5 and curves[0].count("M") == 2 and curves[1].count("L") == 3
    assert "nan" not in text and train.plot({}).startswith("<svg")
