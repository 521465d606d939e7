"""Lesson 6, samplers: clipped, ddim_step, ddpm_step, two_m_step.

Where the data is one single point c, the walk is known: x_t = α_t c + σ_t ε with the same ε all
along. That holds steps of any length to a right answer, without knowing how they are computed.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .. import diffusion
from ..diffusion.exact import GaussianMixture
from ..diffusion.prediction import Denoise, Prediction
from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged

SCHEDULE = diffusion.cosine_schedule(100)
POINT = np.array([0.5, -1.0])


class Asked:
    """The exact denoiser of one single point, which notes what it is asked."""

    def __init__(self) -> None:
        self.times: list[Any] = []
        self.denoise = Denoise(self.answer, SCHEDULE)

    def answer(self, x: np.ndarray, t: Any, condition: Any) -> Prediction:
        self.times.append(t)
        alpha, sigma = SCHEDULE.alpha_sigma(t)
        x0 = np.broadcast_to(POINT, x.shape) + np.zeros(x.shape)
        return Prediction(x0, (x - alpha * POINT) / sigma)

    def once_at(self, t: int) -> None:
        """PromiseError unless there was one question, at this time."""
        if len(self.times) != 1:
            raise PromiseError(f"It asks the denoiser {len(self.times)} times, wanted once a step.")
        if self.times[0] != t:
            raise PromiseError(
                f"It asks the denoiser at {self.times[0]}, wanted {t}: x is a point of the time t."
            )


@exercise(
    hint="x0 changed, and x did not: so the noise that x is made of is another one now, (x − alpha "
    "x0) / sigma."
)
def clipped(clipped: Callable) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 2))
    x0 = 1.5 * rng.standard_normal((6, 2))
    alpha, sigma = SCHEDULE.alpha_sigma(60)
    noise = (x - alpha * x0) / sigma
    result = unchanged(clipped, x, x0, noise, alpha, sigma)
    if not isinstance(result, tuple) or len(result) != 2:
        raise PromiseError("It gives two arrays: the clipped x0 and its noise.")
    inside = np.clip(x0, -1, 1)
    suspects = {
        "It is not clipped.": x0,
        "It is clipped to 0 … 1: data lies in −1 … 1.": np.clip(x0, 0, 1),
        "It is divided by its largest, not clipped.": x0 / np.abs(x0).max(),
    }
    agree(result[0], inside, "x0 is clipped to −1 … 1.", suspects)
    want = (x - alpha * inside) / sigma
    suspects = {
        "That is the noise of the x0 before it was clipped: derive it anew.": noise,
        "The noise is clipped, too: derive it from x and the clipped x0.": np.clip(noise, -1, 1),
        "x0 counts with alpha.": (x - inside) / sigma,
        "It is to be divided by sigma.": x - alpha * inside,
    }
    agree(result[1], want, "x = alpha x0 + sigma noise holds as before.", suspects)


@exercise(
    hint="Ask the denoiser once, at (x, t). Mix its x0 and its noise by alpha and sigma of s."
)
def ddim_step(step: Callable) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((5, 2))
    for t, s in ((60, 30), (60, 59), (100, 1), (60, 0)):
        asked = Asked()
        x = _mixed(t, noise)
        got = unchanged(step, asked.denoise, x, t, s)
        asked.once_at(t)
        next_alpha, next_sigma = SCHEDULE.alpha_sigma(s)
        suspects = {
            "It has not moved: take alpha and sigma of s, where you go.": x,
            "It jumps to x0: that is where the whole walk ends.": 0 * x + POINT,
            "That is alpha x0 + sigma x: sigma goes with the predicted noise.": (
                next_alpha * POINT + next_sigma * x
            ),
            "It is off by one: that is the point of s + 1.": _mixed(s + 1, noise),
            "The noise is subtracted: what is left of it at s is added.": (
                next_alpha * POINT - next_sigma * noise
            ),
        }
        if s:
            suspects["It is off by one: that is the point of s − 1."] = _mixed(s - 1, noise)
        promise = f"With one data point, from t = {t} to s = {s}, x_s is alpha x0 + sigma noise."
        agree(got, _mixed(s, noise), promise, suspects)
    _draws_ddim(step)


def _mixed(t: int, noise: np.ndarray) -> np.ndarray:
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    return alpha * POINT + sigma * noise


ISLANDS = GaussianMixture([[-1.0, 0.0], [0.8, 0.5]], [0.1, 0.25], [0.4, 0.6])


def _draws_ddim(step: Callable) -> None:
    """A walk of 100 steps from noise lands where minidiff's sampler does."""
    denoise = ISLANDS.denoiser(SCHEDULE)
    x = start = np.random.default_rng(1).standard_normal((200, 2))
    for t in range(100, 0, -1):
        x = step(denoise, x, t, t - 1)
    times = np.arange(100, -1, -1)
    want = diffusion.final(diffusion.samplers.ddim(denoise, start, times=times))
    agree(x, want, "100 steps on two islands end where minidiff's ddim does.", tolerance=1e-6)


@exercise(
    hint="With new = σ_s/σ_t · √(1 − (α_t/α_s)²) of fresh noise, √(σ_s² − new²) of the predicted "
    "one is kept. At s = 0 both are 0."
)
def ddpm_step(step: Callable) -> None:
    rng = np.random.default_rng(0)
    count = 40_000
    noise = np.broadcast_to(np.array([0.7, -0.4]), (count, 2))
    for t, s in ((60, 59), (60, 30), (90, 10)):
        asked = Asked()
        x = _mixed(t, noise)
        got = array_of(unchanged(step, asked.denoise, x, t, s, rng), "A step gives points.")
        asked.once_at(t)
        promise = f"From t = {t} to s = {s}, given x0, x_s is a Gaussian."
        if got.shape != x.shape:
            raise PromiseError(f"{promise} It has the shape {got.shape}, wanted {x.shape}.")
        mean, variance = diffusion.posterior(SCHEDULE, np.zeros_like(x) + POINT, x, t, s)
        _gaussian(got, mean[0], float(np.sqrt(variance)), s, x, noise[0], promise)
    x = _mixed(5, noise)
    got = step(Asked().denoise, x, 5, 0, rng)
    promise = "The last step, to s = 0, gives x0 itself."
    if np.std(array_of(got, promise)[:, 0]) > 1e-6:
        raise PromiseError(f"{promise} There is new noise in it: at s = 0 there is none.")
    agree(got, 0 * x + POINT, promise)


def _gaussian(
    got: np.ndarray,
    mean: np.ndarray,
    std: float,
    s: int,
    x: np.ndarray,
    noise: np.ndarray,
    promise: str,
) -> None:
    """Whether 40,000 points have this mean and deviation, to 5 deviations of the estimate."""
    drawn_std = got.std(axis=0)
    next_alpha, next_sigma = SCHEDULE.alpha_sigma(s)
    if drawn_std.max() < 1e-9:
        raise PromiseError(f"{promise} There is no new noise: all that start alike end alike.")
    if not np.isfinite(got).all():
        raise PromiseError(
            f"{promise} There is NaN in it: the new noise has more variance than sigma² at s, and "
            f"nothing is left for the old."
        )
    if np.abs(np.corrcoef(got.T)[0, 1]) > 0.9:
        raise PromiseError(f"{promise} All coordinates got the same noise: draw it in x's shape.")
    far = 5 * std / np.sqrt(len(got))
    whole = next_alpha * POINT + next_sigma * noise
    if np.abs(got.mean(axis=0) - mean).max() > far:
        if np.abs(got.mean(axis=0) - whole).max() < far:
            raise PromiseError(
                f"{promise} Its mean is DDIM's: all of the old noise was kept, and new was added. "
                f"Keep so much that both together have the variance sigma²."
            )
        if np.abs(got.mean(axis=0) - next_alpha * POINT).max() < far:
            raise PromiseError(f"{promise} All of the old noise is gone: a part of it is kept.")
        raise PromiseError(
            f"{promise} Its mean is {got.mean(axis=0).round(4)}, wanted {mean.round(4)}."
        )
    ratio = float(drawn_std.mean()) / std
    if abs(ratio - std) < 0.02 * std and abs(ratio - 1) > 0.03:
        raise PromiseError(f"{promise} Noise is multiplied by the deviation, not the variance.")
    if abs(ratio - 1) > 0.03:
        raise PromiseError(
            f"{promise} Its deviation is {ratio:.2f} times what it should be, {std:.4f}."
        )


@exercise(
    hint="λ = log(alpha / sigma). The line through the last two guesses, seen in λ: aim = guess + "
    "(λ_s − λ_t) / (λ_t − λ_t0) / 2 · (guess − earlier). Then go as DDIM does, with aim for x0."
)
def two_m_step(step: Callable) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2))
    guess = rng.standard_normal((4, 2))
    earlier = rng.standard_normal((4, 2))
    cases = (((60, 50), None), ((60, 50), (70, earlier)), ((60, 20), (65, earlier)))
    for (t, s), last in (*cases, ((20, 1), (40, earlier)), ((60, 0), (70, earlier))):
        got = unchanged(step, SCHEDULE, x, t, s, guess, last)

        def moved(share: float, t=t, s=s) -> np.ndarray:
            """A step of DDIM, aimed at guess + share · (guess − earlier)."""
            aim = guess + share * (guess - earlier)
            alpha, sigma = SCHEDULE.alpha_sigma(t)
            next_alpha, next_sigma = SCHEDULE.alpha_sigma(s)
            return next_alpha * aim + next_sigma * (x - alpha * aim) / sigma

        if last is None:
            promise = "A first step, without an earlier guess, is DDIM's."
            agree(got, moved(0.0), promise)
            continue
        if s == 0:
            promise = "A step to s = 0 is DDIM's: λ is infinite there."
            if np.isnan(array_of(got, promise)).any():
                raise PromiseError(f"{promise} There is NaN or infinity in it.")
            agree(got, moved(0.0), promise)
            continue
        now = SCHEDULE.half_log_snr(t)
        ahead = SCHEDULE.half_log_snr(s) - now
        behind = now - SCHEDULE.half_log_snr(last[0])
        ratio = ahead / behind
        suspects = {
            "The earlier guess is not used.": moved(0.0),
            "The sign is turned: go from the earlier guess beyond this one.": moved(-ratio / 2),
            "The half is missing: the line is taken in the middle of the step.": moved(ratio),
            "The two lengths are exchanged: the step ahead is above, the last one below.": (
                moved(1 / ratio / 2)
            ),
            "The lengths are measured in t: measure them in λ = log(alpha / sigma).": (
                moved((t - s) / (last[0] - t) / 2)
            ),
            "It goes to the earlier guess alone.": moved(-1.0),
        }
        promise = "A later step aims along the line through two guesses."
        agree(got, moved(ratio / 2), promise, suspects)
    _draws_2m(step)


def _draws_2m(step: Callable) -> None:
    denoise = ISLANDS.denoiser(SCHEDULE)
    x = start = np.random.default_rng(1).standard_normal((50, 2))
    times = diffusion.times(SCHEDULE, 15)
    last = None
    for t, s in pairwise(times):
        guess = denoise(x, t).x0
        x = step(SCHEDULE, x, t, s, guess, last)
        last = (t, guess)
    want = diffusion.final(diffusion.samplers.dpmpp_2m(denoise, start, times=times))
    agree(x, want, "15 steps on two islands end where minidiff's dpmpp_2m does.", tolerance=1e-6)
