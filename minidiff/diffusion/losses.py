"""The training loss, its weights over time, and who chooses the times.

The loss is the mean squared error of what the network predicts. Weights are written as weights of
the error in x_0, as functions of the SNR alpha_bar / (1 - alpha_bar); noise and v are x_0 up to a
factor: an error in the noise is sqrt(SNR) times that in x_0, one in v sqrt(SNR + 1) times.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..autograd.threads import sharded
from ..kernels import Array, from_host
from .denoise import as_prediction, check_predicts, log_variance_at, split_output
from .likelihood import step_nats
from .process import (
    Rng,
    as_condition,
    blend,
    check_data,
    draw_noise,
    per_sample,
    posterior,
    q_sample,
    signal_and_noise,
)
from .schedule import Schedule

Weight = Callable[[np.ndarray], np.ndarray]  # SNR -> weight of the squared error in x_0
_PER_X0 = {"noise": lambda snr: snr, "x0": lambda snr: np.ones_like(snr), "v": lambda snr: snr + 1}


def loss(
    model: Callable,
    schedule: Schedule,
    x0: Array,
    condition: Any,
    rng: Rng,
    predicts: str = "noise",
    weight: Weight | None = None,
    learned_variance: bool = False,
    draw: Callable | None = None,
    callback: Callable | None = None,
) -> Tensor:
    """The mean loss of a batch x0 (batch, ...), a Tensor: E w(t) |target - model(x_t, t,
    condition)|², t in 1 … T.

    Draws, all before the batch is cut into pieces: t, by `draw(rng, batch)` -> times and factors
    (batch,) (by default uniform, factor 1), then the noise. `condition`: None, labels (batch,), 0
    for null, or vectors (batch, d); drop labels before the call (`label_dropout`). `weight` is
    `min_snr()`, `p2()`, `truncated_snr` or a function of the SNR; None weighs the error in what is
    predicted equally (Ho et al. 2020, eq. 14). `learned_variance` adds T / 1000 times the bound's
    term in bits, with the mean held fixed, for 8-bit images in [-1, 1] (Nichol & Dhariwal 2021,
    arXiv 2102.09672, eq. 16). `callback(t, losses)` gets the loss of each sample, without its
    factor. Raises TypeError or ValueError for data, conditions and outputs of a wrong shape or
    dtype, NaN in x0, and predicting noise where alpha_bar_T = 0.
    """
    check_predicts(predicts, schedule)
    check_data(x0, "x0")
    batch = x0.shape[0]
    condition = as_condition(condition, batch)
    t, factors = (draw or uniform(schedule.timesteps))(rng, batch)
    noise = draw_noise(rng, x0)
    x_t, target = q_sample(schedule, x0, t, noise), target_of(predicts, schedule, x0, t, noise)

    if weight is None and draw is None and callback is None and not learned_variance:
        plain = lambda x, t, c, target: ops.mse_loss(
            split_output(model(x, t, c), x, False)[0], target
        )
        return sharded(plain)(x_t, t, condition, target)
    snr = schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])
    weights = np.ones(batch) if weight is None else weight(snr) / _PER_X0[predicts](snr)
    record = np.empty(batch)
    moved = lambda values: from_host(values.astype(x0.dtype), x0)

    def piece(
        x_t: Array, x0: Array, target: Array, condition: Array | None, rows: np.ndarray
    ) -> Tensor:
        times = t[rows]
        output, place = split_output(model(x_t, times, condition), x_t, learned_variance)
        axes = tuple(range(1, x0.ndim))
        each = ops.mean((output - target) ** 2, axis=axes) * moved(weights[rows])
        if learned_variance:
            x0_hat = as_prediction(predicts, schedule, x_t, times, output.data).x0
            mean, _ = posterior(schedule, x0_hat, x_t, times)
            nats = step_nats(
                schedule, x0, x_t, times, mean, log_variance_at(schedule, x0, times, place), True
            )
            each = each + ops.mean(nats, axis=axes) * (schedule.timesteps / 1000 / math.log(2))
        record[rows] = each.numpy()
        return ops.mean(each * moved(factors[rows]))

    total = sharded(piece)(x_t, x0, target, condition, np.arange(batch))
    if callback is not None:
        callback(t, record)
    return total


def label_dropout(condition: Array, prob_uncond: float, rng: np.random.Generator) -> Array:
    """The condition with each row made null with probability `prob_uncond` (Ho & Salimans 2022,
    algorithm 1).

    So one network learns p(x given y) and p(x). Raises ValueError for a probability outside 0 … 1.
    """
    if not 0 <= prob_uncond <= 1:
        raise ValueError(f"prob_uncond: given {prob_uncond}, wanted a probability from 0 to 1")
    keep = rng.random(condition.shape[0]) >= prob_uncond
    return condition * per_sample(keep, condition)


def target_of(predicts: str, schedule: Schedule, x0: Array, t, noise: Array) -> Array:
    """What a network is to predict: the noise, x_0, or v = alpha noise - sigma x_0."""
    if predicts == "v":
        alpha, sigma = signal_and_noise(schedule, t, x0)
        return blend(alpha, noise, -sigma, x0)
    return x0 if predicts == "x0" else noise


# --- weights of the squared error in x_0 ---


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma) (Hang et al. 2023, arXiv 2303.09556, eq. 8)."""
    return lambda snr: np.minimum(snr, gamma)


def truncated_snr(snr: np.ndarray) -> np.ndarray:
    """max(SNR, 1) (Salimans & Ho 2022, arXiv 2202.00512, section 4)."""
    return np.maximum(snr, 1.0)


def p2(gamma: float = 1.0, k: float = 1.0) -> Weight:
    """SNR / (k + SNR)^gamma: 1 / (k + SNR)^gamma for the noise (Choi et al.

    2022, arXiv 2204.00227, eq. 8).
    """
    return lambda snr: snr / (k + snr) ** gamma


# --- who chooses the times, and who watches the losses ---


def uniform(timesteps: int) -> Callable:
    """The `draw` of t evenly in 1 … T."""
    return lambda rng, n: (rng.integers(1, timesteps + 1, size=n), np.ones(n))


class ImportanceSampler:
    """Draws t with probability ∝ sqrt(E[loss_t²]) over the last losses seen at each t, and corrects
    by 1 / (T p_t).

    Give `draw` and `callback=….update` to `loss`. Until every t has been seen `history` times it
    draws evenly; later a share of 0.001 stays even. Source: Nichol & Dhariwal 2021, arXiv
    2102.09672, section 3.3.
    """

    def __init__(self, timesteps: int, history: int = 10):
        self.losses, self.seen = np.zeros((timesteps, history)), np.zeros(timesteps, np.int64)

    def probabilities(self) -> np.ndarray:
        """p_t for t = 1 … T, (T,)."""
        timesteps, history = self.losses.shape
        p = np.sqrt(np.mean(self.losses**2, axis=1))
        if self.seen.min() < history or p.sum() == 0:
            return np.full(timesteps, 1 / timesteps)
        return 0.999 * p / p.sum() + 0.001 / timesteps

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        p = self.probabilities()
        t = rng.choice(len(p), size=n, p=p)
        return t + 1, 1 / (len(p) * p[t])

    def update(self, t: np.ndarray, losses: np.ndarray) -> None:
        for i, value in zip(t - 1, losses):
            self.losses[i, self.seen[i] % self.losses.shape[1]] = value
            self.seen[i] += 1


class LossByTime:
    """A callback of `loss` that averages the loss in bins of t: `mean()` is (bins,), NaN where nothing was seen."""

    def __init__(self, timesteps: int, bins: int = 10):
        self.edges = np.linspace(0, timesteps, bins + 1)
        self.sums, self.counts = np.zeros(bins), np.zeros(bins)

    def __call__(self, t: np.ndarray, losses: np.ndarray) -> None:
        bins = np.searchsorted(self.edges, t) - 1  # bin i holds edges[i] < t <= edges[i + 1]
        np.add.at(self.sums, bins, losses)
        np.add.at(self.counts, bins, 1)

    def mean(self) -> np.ndarray:
        return np.divide(
            self.sums, self.counts, out=np.full_like(self.sums, np.nan), where=self.counts > 0
        )
