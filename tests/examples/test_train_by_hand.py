"""Does the loop written by hand do what lm.train.fit does, to the bit, and go on from its checkpoint?"""

import numpy as np
import pytest

import lamina as lm


@pytest.fixture(scope="module")
def by_hand(example):
    return example("train_by_hand")


@pytest.fixture(scope="module")
def rows(by_hand):
    return by_hand.digits()


def test_it_is_fit(by_hand, rows, tmp_path):
    optimizer, path = lm.optim.AdamW(3e-3), tmp_path / "run.safetensors"
    model, losses = by_hand.train(3, optimizer, *rows)
    batches = lm.data.Batches(rows[0], 32, shuffle=True, seed=by_hand.SEED, drop_last=True)
    result = lm.train.fit(by_hand.loss, by_hand.network(lm.random.key(by_hand.SEED)), optimizer, batches, epochs=3,
                          key=by_hand.SEED)
    assert losses == result.history["loss"] and losses[2] < losses[0] / 2
    for a, b in zip(lm.tree.leaves(model), lm.tree.leaves(result.model)):
        np.testing.assert_array_equal(a, b)
    assert by_hand.accuracy(model, rows[1]) > 0.85
    by_hand.train(2, optimizer, *rows, checkpoint=path)
    resumed, again = by_hand.train(3, optimizer, *rows, checkpoint=path)
    assert again == losses
    for a, b in zip(lm.tree.leaves(model), lm.tree.leaves(resumed)):
        np.testing.assert_array_equal(a, b)


def test_the_script_says_what_it_reached(by_hand, run_main):
    assert "9,962 parameters" in run_main(by_hand, "--epochs", "1")
