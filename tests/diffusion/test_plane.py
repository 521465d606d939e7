"""Points in the plane: the network that ships lies on its patterns, and nothing explodes."""

import fnmatch
import tomllib
from pathlib import Path

import numpy as np
import pytest

import minidiff as md
from minidiff import data, optim
from minidiff import diffusion as D
from minidiff.diffusion import samplers as S

ROOT = Path(md.__file__).parent.parent
WEIGHTS = ROOT / "minidiff/weights"
PATTERNS = [data.spiral, data.s_curve, data.moons]
FARTHEST = [0.04, 0.025, 0.015, 0.018]  # on the mean: of the null label, spiral, s-curve, moons
CLIPS = [None, True]


def patterns(n: int) -> list[np.ndarray]:
    """n points of each pattern, in [-1, 1]."""
    drawn = [pattern(n, 5) for pattern in PATTERNS]
    return [data.Scaling.fit(points).apply(points) for points in drawn]


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each point to the nearest of the others, by looking at all."""
    return np.array([np.hypot(*(others - point).T).min() for point in points])


@pytest.fixture(scope="module")
def real():
    """By label: all points, then those of each pattern."""
    each = patterns(4000)
    return [np.concatenate(each), *each]


@pytest.fixture(scope="module")
def network():
    return md.pretrained("patterns")


@pytest.mark.parametrize("label", range(4))
def test_samples_lie_on_their_pattern_and_all_along_it(label, network, real):
    labels = np.full(400, label)
    drawn = D.sample(network, labels, sampler="ddpm", steps=network.timesteps, rng=label)
    assert distances(drawn, real[label]).mean() < FARTHEST[label]
    # 400 points of the data in place of the samples lie 0.006 to 0.015 away
    assert distances(real[label][::10], drawn).mean() < 0.03
    assert distances(real[label][::10], drawn).max() < 0.25, "a part is not drawn"


def test_the_null_label_draws_each_pattern_as_often(network, real):
    drawn = D.sample(network, np.zeros(1000, int), sampler="ddpm", steps=network.timesteps)
    nearest = np.argmin([distances(drawn, points) for points in real[1:]], axis=0)
    shares = np.bincount(nearest, minlength=3) / len(drawn)
    assert np.all(np.abs(shares - 1 / 3) < 0.1), shares


@pytest.mark.parametrize("clip", CLIPS, ids=["free", "clipped"])
@pytest.mark.parametrize("name", S.SAMPLERS)
def test_any_sampler_draws_the_patterns(name, clip, network, real):
    labels = np.repeat(np.arange(4), 50)
    drawn = D.sample(network, labels, sampler=name, clip=clip)
    assert np.abs(drawn).max() < 1.3
    assert np.mean([distances(drawn[labels == k], real[k]).mean() for k in range(4)]) < 0.05


def even_schedule(timesteps: int) -> D.Schedule:
    log_snr = np.linspace(7, -9, timesteps)
    return D.Schedule.from_alpha_bar(np.append(1, 1 / (1 + np.exp(-log_snr))))


@pytest.mark.parametrize("schedule", [D.cosine_schedule(100), even_schedule(100)])
def test_points_of_a_short_training_do_not_explode(schedule):
    points = np.concatenate(patterns(1000))
    labels = np.repeat([1, 2, 3], 1000)
    model = md.models.ConditionalMLP(timesteps=100)
    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, 50, 600))
    for step in range(600):
        rng = np.random.default_rng([0, step])
        rows = rng.integers(0, len(points), 64)
        dropped = D.label_dropout(labels[rows], 0.5, rng)
        loss = D.loss(model, schedule, points[rows], dropped, rng, predicts="v")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name in S.SAMPLERS:
        for clip in CLIPS:
            for steps in (10, 25):
                walk = D.sample_steps(
                    model, np.repeat(np.arange(4), 20), sampler=name, steps=steps, clip=clip
                )
                x0s = D.all_steps(walk)[2]
                assert np.abs(x0s).max() < 4, (name, clip, steps)
                assert np.abs(x0s[-1]).max() < 2, (name, clip, steps)


def test_it_ships_with_a_card(network):
    assert network.num_parameters == 5826
    assert network.parameterization.predicts == "v"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = settings["tool"]["setuptools"]["package-data"]["minidiff"]
    for suffix in (".safetensors", ".md"):
        file = WEIGHTS / f"patterns{suffix}"
        assert file.is_file()
        assert any(fnmatch.fnmatch(f"weights/{file.name}", glob) for glob in packaged)
