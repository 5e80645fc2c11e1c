"""Do the examples that train reach what they say, in their short form?"""

import re

import pytest


def figures(text: str) -> list[float]:
    """The numbers of the last line of what an example prints."""
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text.strip().splitlines()[-1])]


@pytest.fixture
def trained(example, run_main):
    """What `python examples/NAME.py --short` prints; skipped where what it needs is missing."""
    def run(name: str, *needs: str) -> str:
        for module in needs:
            pytest.importorskip(module)
        return run_main(example(name), "--short")
    return run


def test_a_convolutional_network_reads_digits(trained):
    right, images, _ = figures(trained("cnn", "sklearn"))
    assert images == 360 and right >= 98.5


def test_a_language_model_is_well_under_the_bigrams(trained):
    text = trained("language_model")
    bits, bigram, _ = figures(text)
    assert 3 < bigram < 3.6 and bits < bigram - 0.4
    assert "The " in text
