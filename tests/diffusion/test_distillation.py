"""A student's loss is 0 where one step of it leads to where two steps of its teacher lead."""

import re

import numpy as np
import pytest
from worlds import TWO

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import distillation, guidance

T = 20
SCHEDULES = {"cosine": D.cosine_schedule(T), "straight": D.straight_schedule(T)}
GUIDED = lambda schedule: guidance.classifier_free(TWO.denoiser(schedule), 1.7)
TEACHERS = {"plain": TWO.denoiser, "guided": GUIDED}
LABELS = np.arange(60) % 2 + 1


class TwoSteps(md.nn.Module):
    """A student that goes the two steps itself, by the sampler, and says what one step must be."""

    timesteps = T
    sample_shape = (2,)

    def __init__(self, teacher, steps, predicts, off=0.0):
        self.teacher = teacher
        self.length = T / steps
        self.off = off
        self.parameterization = D.Parameterization(teacher.schedule, predicts)

    def __call__(self, z, t, condition):
        target = np.empty_like(z)
        for time in np.unique(t):
            rows = t == time
            times = [time, time - self.length / 2, time - self.length]
            way = D.samplers.ddim(self.teacher, z[rows], condition[rows], times, clip=None)
            end = D.final(way)
            (alpha, sigma), (alpha_s, sigma_s) = map(
                self.teacher.schedule.alpha_sigma, (time, times[-1])
            )
            # z and end are two mixtures of one x0 and one noise
            both = np.array([[alpha, sigma], [alpha_s, sigma_s]])
            x0, noise = np.linalg.solve(both, np.stack([z[rows], end]).reshape(2, -1))
            x0, noise = (part.reshape(-1, 2) for part in (x0, noise))
            target[rows] = self.parameterization.target(x0, noise, alpha, sigma)
        return md.Tensor(target + self.off)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize(
    ("name", "predicts"),
    [("cosine", "v"), ("cosine", "x0"), ("straight", "velocity"), ("straight", "v")],
)
def test_two_steps_in_one(name, predicts, teacher, steps):
    denoise = TEACHERS[teacher](SCHEDULES[name])
    x0 = TWO.sample(60, 0)
    for off in (0.0, 0.3):
        student = TwoSteps(denoise, steps, predicts, off)
        loss = distillation.loss(student, denoise, x0, LABELS, 1, steps)
        np.testing.assert_allclose(loss.item(), off**2, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_perfect_student_draws_what_its_teacher_draws(steps):
    denoise = GUIDED(SCHEDULES["cosine"])
    student = TwoSteps(denoise, steps, "v")
    options = {"sampler": "ddim", "rng": 3, "dtype": np.float64, "clip": None}
    drawn = D.sample(student, LABELS, steps=steps, **options)
    by_teacher = D.sample(denoise, LABELS, shape=(2,), steps=2 * steps, **options)
    np.testing.assert_allclose(drawn, by_teacher, rtol=1e-9, atol=1e-9)


def test_the_student_is_asked_at_its_own_times_on_noised_data():
    asked = []

    class Watched(TwoSteps):
        def __call__(self, z, t, condition):
            asked.append((z, t))
            return super().__call__(z, t, condition)

    denoise = TWO.denoiser(SCHEDULES["cosine"])
    x0 = np.full((4000, 2), 0.5)
    labels = np.ones(4000, int)
    distillation.loss(Watched(denoise, 4, "v"), denoise, x0, labels, 0, 4)
    z, t = (np.concatenate(parts) for parts in zip(*asked))
    assert set(t) == {5, 10, 15, 20}
    alpha, sigma = SCHEDULES["cosine"].alpha_sigma(t, z)
    noise = (z - alpha * 0.5) / sigma
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 1], atol=0.05)


def test_a_network_learns_from_another():
    teacher = md.models.ConditionalMLP(16, classes=2, timesteps=T)
    x0 = TWO.sample(60, 0).astype(np.float32)
    D.loss(teacher, SCHEDULES["cosine"], x0, LABELS, 0, "v").backward()
    student = md.models.ConditionalMLP(16, classes=2, timesteps=T)
    student.load_state_dict(teacher.state_dict())
    student.parameterization = teacher.parameterization
    optimizer = md.optim.Adam(student.parameters(), lr=1e-2)
    losses = []
    for step in range(200):
        loss = distillation.loss(student, teacher, x0, LABELS, np.random.default_rng(step), 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in student.parameters())
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


COSINE = TWO.denoiser(SCHEDULES["cosine"])
MLP = md.models.ConditionalMLP(timesteps=T)
MLP.parameterization = D.Parameterization(SCHEDULES["cosine"], "v")


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (md.models.ConditionalMLP(timesteps=T), COSINE, "student: given ConditionalMLP, wanted"),
        (
            TwoSteps(TWO.denoiser(SCHEDULES["straight"]), 1, "v"),
            COSINE,
            "student: given one trained on Path",
        ),
        (COSINE, MLP, "student: given Denoise, wanted a network"),
        (MLP, MLP, "student: given the teacher's own network, wanted another one"),
        (
            MLP,
            guidance.classifier_free(MLP, 2),
            "student: given the teacher's own network, wanted another one",
        ),
        (md.models.UNet, COSINE, "student: given the class UNet, wanted what it gives"),
    ],
)
def test_a_wrong_student(student, teacher, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        distillation.loss(student, teacher, np.ones((2, 2), np.float32), None, 0, 1)


@pytest.mark.parametrize(
    ("count", "steps", "message"),
    [
        (2, 0, "steps: given 0, wanted an integer from 1 to 20"),
        (2, 21, "steps: given 21, wanted an integer from 1 to 20"),
        (0, 1, "x0: given shape (0, 2), wanted at least one sample"),
    ],
)
def test_wrong_calls(count, steps, message):
    student = TwoSteps(COSINE, 1, "v")
    with pytest.raises(ValueError, match=re.escape(message)):
        distillation.loss(student, COSINE, np.ones((count, 2)), None, 0, steps)
