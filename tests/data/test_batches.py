"""Do batches come in the order of their seed, go on where they were left, and leave no thread behind?"""

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest

import lamina as lm

data = lm.data


def threads():
    return [t for t in threading.enumerate() if t.name == "lamina-prefetch"]


def collected(batches):
    return [b.tolist() for b in batches]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_an_epoch_holds_every_row_once(ahead):
    batches = data.Batches(np.arange(10), 4, ahead=ahead)
    assert len(batches) == 3 and collected(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    dropping = data.Batches(np.arange(10), 4, drop_last=True, ahead=ahead)
    assert len(dropping) == 2 and collected(dropping) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    shuffled = data.Batches(np.arange(10), 4, shuffle=True, seed=1, ahead=ahead)
    first, second = collected(shuffled), collected(shuffled)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(10)) and first != second
    assert collected(data.Batches(np.arange(10), 4, shuffle=True, seed=1, ahead=0)) == first
    assert collected(data.Batches(np.arange(10), 4, shuffle=True, seed=2)) != first
    assert collected(data.Batches(np.arange(0), 4, ahead=ahead)) == [] and not threads()


def test_position_is_kept_and_restored():
    def make():
        return data.Batches(np.arange(10), 3, shuffle=True, seed=5,
                            transform=lambda x, key: x + lm.random.randint(key, x.shape, 0, 1000, "int64"))
    whole = make()
    expected = [b for _ in range(3) for b in collected(whole)]
    assert whole.state() == {"epoch": 3, "batch": 0}
    for stop in range(len(expected)):
        first, seen = make(), []
        while len(seen) < stop:
            for batch in first:
                seen.append(batch.tolist())
                if len(seen) == stop:
                    break
        second = make()
        second.restore(first.state())
        for _ in range(4):
            seen += collected(second)
        assert seen[:len(expected)] == expected
    for wrong in ({"epoch": 0, "batch": 4}, {"epoch": -1, "batch": 0}):
        with pytest.raises(lm.LaminaError, match="no batch"):
            make().restore(wrong)


def test_an_epoch_that_is_left_early_is_over():
    batches = data.Batches(np.arange(10), 2)
    for batch in batches:
        if batch[0] == 4:
            break
    assert batches.state() == {"epoch": 0, "batch": 3}
    assert collected(batches)[0] == [0, 1] and batches.state() == {"epoch": 2, "batch": 0}


def test_transforms_take_a_batch_and_a_key_if_they_ask_for_it():
    assert collected(data.Batches(np.arange(4), 2, transform=lambda x: -x)) == [[0, -1], [-2, -3]]
    assert collected(data.Batches(np.arange(4), 2, transform=lambda x, scale=2: x * scale)) == [[0, 2], [4, 6]]
    keys = collected(data.Batches(np.arange(4), 2, transform=lambda x, key: key))
    assert keys[0] != keys[1]


# ---- the thread ------------------------------------------------------------------------------------------------------
def test_items_are_made_ahead_and_no_further():
    made = []
    def items():
        for i in range(10):
            made.append(i)
            yield i
    iterator = data.prefetch(items(), 2)
    assert next(iterator) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]  # one taken, two in the buffer, one waiting
    assert list(iterator) == list(range(1, 10)) and not threads()


def test_errors_come_where_their_item_would():
    def items():
        yield 1
        yield 2
        raise KeyError("broken")
    found = []
    with pytest.raises(KeyError, match="broken") as caught:
        for item in data.prefetch(items(), 1):
            found.append(item)
    assert found == [1, 2] and not threads()
    assert any("items" == entry.name for entry in caught.traceback)


@pytest.mark.parametrize("leave", ["break", "error", "interrupt", "drop"])
def test_the_thread_ends_with_the_loop(leave):
    closed = []
    def items():
        try:
            while True:
                yield np.zeros(3)
        finally:
            closed.append(True)
    iterators = [data.prefetch(items(), 2)]
    error = {"error": ValueError, "interrupt": KeyboardInterrupt}.get(leave)
    def loop():
        for _ in iterators[0]:
            if error is not None:
                raise error
            return
    if error is None:
        loop()
    else:
        with pytest.raises(error):
            loop()
    if leave != "drop":
        iterators[0].close()
    iterators.clear()
    gc.collect()
    assert closed == [True] and not threads()


def test_ctrl_c_ends_the_wait_for_a_batch():
    def slow():
        yield 0
        time.sleep(0.5)
        yield 1
    iterator = data.prefetch(slow(), 1)
    assert next(iterator) == 0
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    timer.join()
    assert not threads() and list(iterator) == []


def test_breaking_out_of_batches_leaves_no_thread():
    for _ in data.Batches(np.arange(1000), 2):
        break
    gc.collect()
    assert not threads()
