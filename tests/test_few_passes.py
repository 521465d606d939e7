"""examples/evaluate.py on a network of two times, which draws in few passes."""

import numpy as np
import pytest
from test_evaluate import evaluate, here  # noqa: F401

import minidiff as md
from minidiff import diffusion
from minidiff.evaluation.drawing import Setting


@pytest.fixture
def two_times(here):  # noqa: F811
    """A network of two times, in a file."""
    model = md.models.MeanFlowUNet(1, 8, (1,), 10, timesteps=20, attention=False)
    straight = diffusion.straight_schedule(20)
    shape = (28, 28, 1)
    model.parameterization = diffusion.Parameterization(straight, "velocity", sample_shape=shape)
    md.save("two_times.safetensors", model)
    return model


def test_few_passes_are_judged(two_times, evaluate):  # noqa: F811
    arguments = ["--count", "20", "--guidance", "1", "--sampler", "mean_flow", "--steps", "1", "4"]
    results, _ = evaluate("two_times.safetensors", *arguments)
    assert [(row["steps"], row["guidance"]) for row in results["rows"]] == [
        (1, 1.0),
        (4, 1.0),
        (1, None),
        (4, None),
    ]


@pytest.mark.parametrize("steps", [1, 4])
def test_few_passes_are_those_that_a_user_draws(two_times, steps):
    draw = diffusion.mean_flow.sample
    with_labels = Setting(1.0, "mean_flow", steps).draw(two_times, 20, 30, seed=7)
    labels = np.arange(10) + 1
    assert np.array_equal(with_labels, draw(two_times, labels, steps, rng=7))
    free = Setting(None, "mean_flow", steps).draw(two_times, 20, 30, seed=7)
    assert np.array_equal(free, draw(two_times, None, steps, n=10, rng=7))


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        ("2", "--guidance: given 2 with mean_flow, wanted 1"),
        ("1", "--sampler: given mean_flow for tiny, wanted a MeanFlowUNet"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(guidance, message, evaluate, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        evaluate("tiny.safetensors", "--sampler", "mean_flow", "--guidance", guidance)
    assert message in capsys.readouterr().err
