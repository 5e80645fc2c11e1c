"""Do the examples that train reach what they say, in their short form?"""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def figures(text: str) -> list[float]:
    """The numbers of the last line of what an example prints."""
    return [float(n) for n in re.findall(r"(?<![\w^])-?\d+(?:\.\d+)?", text.strip().splitlines()[-1])]


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


def test_a_residual_network_reads_digits(trained):
    right, images, _ = figures(trained("resnet", "sklearn"))
    assert images == 360 and right >= 98.5


def test_a_vision_transformer_reads_digits(trained):
    right, images, _ = figures(trained("vision_transformer", "sklearn"))
    assert images == 360 and right >= 95


def test_networks_learn_from_tables(trained):
    cancer, linear, course, _, _ = figures(trained("tabular", "sklearn"))
    assert cancer >= 95 and cancer >= linear - 1 and course >= 0.3


def test_a_variational_autoencoder_beats_pixels_by_themselves(trained):
    bound, apart, _ = figures(trained("vae", "sklearn"))
    assert apart + 1.2 < bound < 0


def test_a_diffusion_model_draws_digits(trained):
    samples, others, noise, _ = figures(trained("diffusion", "sklearn"))
    assert others < samples < 0.8 * noise


def test_a_gan_draws_digits(trained):
    samples, others, noise, _ = figures(trained("gan", "sklearn"))
    assert others < samples < 0.75 * noise


def test_training_on_attacks_withstands_attacks(trained):
    plain, deceived, hardened, held, _ = figures(trained("adversarial", "sklearn"))
    assert plain > 95 and hardened > 95 and deceived < 75 and held > deceived + 8


def test_integrated_gradients_add_up(trained):
    right, error, _ = figures(trained("interpretability", "sklearn"))
    assert right > 92 and error < 0.01


def test_recurrent_networks_are_under_the_bigrams(trained):
    rnn, gru, lstm, bigrams, _ = figures(trained("recurrent"))
    assert max(rnn, gru, lstm) < bigrams - 0.6


def test_an_autoencoder_takes_noise_away_and_finds_what_does_not_belong(trained):
    before, after, area, _ = figures(trained("autoencoder", "sklearn"))
    assert after < before / 3 and area > 0.97


def test_what_was_learned_before_helps(trained):
    images, head, tuned, fresh, _ = figures(trained("transfer", "sklearn"))
    assert images == 30 and head > fresh + 2 and tuned > fresh + 2


def test_a_search_finds_a_rate_that_learns(trained):
    rate, right, networks, _ = figures(trained("hyperparameters", "sklearn"))
    assert 0.01 < rate < 3 and right > 93 and networks == 9


def test_every_training_example_is_short_and_says_what_it_reaches():
    names = {path.name for path in EXAMPLES.glob("*.py") if "--short" in path.read_text()}
    assert len(names) == 15
    for name in names:
        text = (EXAMPLES / name).read_text()
        assert text.count("\n") <= 120 and re.search(r"\d s (of processor time|\()", text.split('"""')[1]), name
