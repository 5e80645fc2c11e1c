"""Is a model still as fast as before?  Baselines, assertions, and what the samples must show before one is broken."""

import json
from pathlib import Path

import numpy as np
import pytest

from lamina.compiler.core.errors import LaminaError
from lamina.frontends.cli import baseline
from lamina.frontends.cli.timing import Assertion, Samples, parse_assertion, quantile_interval, ratio_interval


def turns(median, count=40, per_turn=30, spread=0.05, seed=0, drift=None):
    """Samples around a median; `drift` is a factor for each turn, as a busy neighbour makes them."""
    random = np.random.default_rng(seed)
    factors = np.ones(count) if drift is None else drift
    return Samples([list(median * f * np.exp(random.normal(0, spread, per_turn))) for f in factors])


# ---- statistics ------------------------------------------------------------------------------------------------------
def test_a_ratio_lies_in_its_bounds():
    interval = ratio_interval(turns(1.2, seed=1), turns(1.0, seed=2), 0.5, is_paired=False)
    assert interval.low < 1.2 < interval.high and interval.low < interval.estimate < interval.high
    assert interval.high - interval.low < 0.05


def test_the_same_code_is_rarely_called_slower():
    limit = Assertion("p50<=1.01x", 0.5, 1.01, True)
    verdicts = [limit.verdict(ratio_interval(turns(1.0, seed=2 * i), turns(1.0, seed=2 * i + 1), 0.5, True))
                for i in range(20)]
    assert verdicts.count("broken") == 0


def test_turns_that_were_disturbed_together_cancel():
    drift = np.random.default_rng(5).choice([1.0, 1.8], 40)
    slower, base = turns(1.1, seed=1, drift=drift), turns(1.0, seed=2, drift=drift)
    paired, apart = (ratio_interval(slower, base, 0.5, is_paired=p) for p in (True, False))
    assert paired.high - paired.low < (apart.high - apart.low) / 2 and paired.low > 1.05


def test_a_quantile_has_bounds():
    interval = quantile_interval(turns(2e-3), 0.9)
    assert interval.low < 2e-3 * np.exp(0.05 * 1.2816) < interval.high


def test_long_turns_stand_by_their_quantiles():
    samples = Samples([list(np.linspace(0, 1, 5001))])
    (points,) = samples.points()
    assert len(points) == 64 and np.median(points) == pytest.approx(0.5) and len(samples) == 5001


@pytest.mark.parametrize("text, quantile, limit, is_ratio", [
    ("p50<=1.05x", 0.5, 1.05, True), ("median <= 3ms", 0.5, 3e-3, False), ("p99.9<=20us", 0.999, 2e-5, False),
    ("min<=1x", 0.0, 1, True)])
def test_assertions_are_read(text, quantile, limit, is_ratio):
    assertion = parse_assertion(text)
    assert (assertion.quantile, assertion.is_ratio) == (pytest.approx(quantile),
                                                        is_ratio) and assertion.limit == pytest.approx(limit)


@pytest.mark.parametrize("text", ["p50<1x", "p50<=1", "mean<=1x", "p101<=1x", "", "p50<=-1x", "p50>=1x"])
def test_what_is_no_assertion(text):
    with pytest.raises(LaminaError, match="can't read the assertion"):
        parse_assertion(text)


def test_a_verdict_needs_certainty():
    from lamina.frontends.cli.timing import Interval
    limit = parse_assertion("p50<=1.05x")
    assert [limit.verdict(Interval(1, low, high)) for low,
            high in ((1.06, 1.1), (1.0, 1.1), (0.9, 1.05))] == ["broken", "undecided", "holds"]


# ---- the command -----------------------------------------------------------------------------------------------------
def bench(lamina, model, *words):
    return lamina("bench", model, "--min-time", "0.02", "--threads", "1", *words)


def test_a_baseline_is_saved_and_compared_with(lamina, mlp):
    assert bench(lamina, mlp, "--save", "base.json").code == 0
    saved = json.loads(Path("base.json").read_text())
    assert saved["machine"] == baseline.this_machine() and saved["inputs"] == {"x": "float32[1, 6]",
                                                                               "w": "float32[6, 3]"}
    ended = bench(lamina, mlp, "--against", "base.json", "--assert", "p50<=1000x", "--json")
    comparison, verdict = ended.json["verdicts"]
    assert ended.code == 0 and comparison["assertion"] is None
    assert 0 < comparison["low"] <= comparison["estimate"] <= comparison["high"]
    assert verdict["assertion"] == "p50<=1000x" and verdict["verdict"] == "holds"


def test_a_broken_assertion_is_a_failure(lamina, mlp):
    assert bench(lamina, mlp, "--save", "base.json").code == 0
    ended = bench(lamina, mlp, "--against", "base.json", "--assert", "p50<=0.001x")
    assert ended.code == 1 and "p50<=0.001x is broken" in ended.out
    ended = bench(lamina, mlp, "--assert", "p50<=1ns", "--assert", "p50<=100s")
    assert ended.code == 1 and "p50<=1ns is broken" in ended.out and "p50<=100s holds" in ended.out


def test_a_model_of_before_runs_in_turns(lamina, mlp):
    assert lamina("build", mlp, "-o", "old.lam").code == 0
    for old in ("old.lam", mlp):
        ended = bench(lamina, mlp, "--against", old, "--assert", "p50<=1000x", "--json")
        assert ended.code == 0 and {r["contender"] for r in ended.json["results"]} == {"lamina", "base"}, ended.err


def test_another_machine_is_refused_unless_wanted(lamina, mlp, monkeypatch):
    bench(lamina, mlp, "--save", "base.json")
    saved = json.loads(Path("base.json").read_text())
    saved["machine"]["processor"] = "abacus"
    Path("base.json").write_text(json.dumps(saved))
    ended = bench(lamina, mlp, "--against", "base.json")
    assert ended.code == 2 and "another machine: processor 'abacus' there" in ended.err and "--any-machine" in ended.err
    ended = bench(lamina, mlp, "--against", "base.json", "--any-machine")
    assert ended.code == 0 and "abacus" in ended.err and "median beside that of base.json" in ended.out


def test_what_can_not_be_compared(lamina, mlp):
    bench(lamina, mlp, "--save", "base.json")
    ended = bench(lamina, mlp, "--against", "base.json", "--dim", "batch=2")
    assert ended.code == 2 and "other inputs" in ended.err
    ended = lamina("bench", mlp, "--min-time", "0", "--threads", "2", "--against", "base.json")
    assert ended.code == 2 and "no times with 2 threads" in ended.err
    ended = bench(lamina, mlp, "--assert", "p50<=1x")
    assert ended.code == 2 and "--against" in ended.err
    assert bench(lamina, mlp, "--save", "nowhere/base.json").code == 2


REST = '"machine": {}, "inputs": {}, "lamina": "", "model": ""'


@pytest.mark.parametrize("content", ["", "{}", "[1]", f'{{"schema": 1, "samples": {{"1": [[0.0]]}}, {REST}}}',
                                     f'{{"schema": 1, "samples": {{"1": []}}, {REST}}}'])
def test_a_damaged_baseline_is_refused(lamina, mlp, content):
    Path("base.json").write_text(content)
    ended = bench(lamina, mlp, "--against", "base.json")
    assert ended.code == 2 and "base.json is no baseline" in ended.err
