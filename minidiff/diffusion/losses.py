"""The training loss, its weights over time, and who chooses the times.

The loss is the mean squared error of what the network predicts. Weights are written as weights of
the error in x_0, as functions of the SNR alpha_bar / (1 - alpha_bar); noise and v are x_0 up to a
factor: an error in the noise is sqrt(SNR) times that in x_0, one in v sqrt(SNR + 1) times, and one
in the velocity 1 + sqrt(SNR) times, which is 1 / sigma on the straight path.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from .. import checks, messages, ops
from ..autograd.tensor import Tensor
from ..autograd.threads import sharded
from ..kernels import Array, from_host, from_host_together
from ..nn import Module
from ..nn.module import home_of
from ..optim.stateful import Stateful
from .forward_process import posterior
from .likelihood import step_nats
from .parameterization import Parameterization, parameterization_of
from .per_sample import (
    as_condition,
    check_array,
    check_clean,
    column,
    noise_on_host,
    weighted_sum,
)
from .schedule import Schedule, check_schedule
from .variance import log_variance_between

PROBABILITY = checks.Between(0, 1)
Weight = Callable[[np.ndarray], np.ndarray]  # SNR -> weight of the squared error in x_0


def loss(
    model: Callable,
    schedule: Schedule,
    x0: Array,
    condition: Any,
    rng: np.random.Generator | int,
    predicts: str = "noise",
    weight: Weight | None = None,
    learned_variance: bool = False,
    draw: Callable | None = None,
    callback: Callable | None = None,
) -> Tensor:
    """The mean loss of a batch x0 (batch, ...), a 0-d Tensor.

        E w(t) |target - model(x_t, t, condition)|²    with t in 1 … T

    It runs on all threads, on pieces of the batch. A bare model(x, t, condition) runs on one: in a
    loss of your own, wrap it in `minidiff.sharded`. x0 may be on the host, and is moved to the
    device of a Module; numbers that are on a device already are looked at in the first call only,
    or the host would wait for them each time.

    The first call notes the `Parameterization` on a Module (`model.parameterization`), so that
    `save` and `denoiser` know it; later calls must agree with it.

    - `condition`: None, labels (batch,), 0 for null, or vectors (batch, d); drop labels before the
      call (`label_dropout`).
    - `rng`: a Generator, which draws t and then the noise, before the batch is cut. With a seed
      every call draws the same: right for a figure, wrong in a training loop.
    - `predicts`, `learned_variance`: see `Parameterization`. "noise" is what the paper has; "v" is
      the better choice, in colour above all, where noise gives wrong means. "velocity", on a
      `straight_schedule`, is flow matching (Lipman et al. 2023, arXiv 2210.02747). A learned
      variance adds T / 1000 times the bound's term in bits, with the mean held fixed, for 8-bit
      images in [-1, 1] (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 16).
    - `weight`: `min_snr()`, `p2()`, `truncated_snr` or a function of the SNR; None weighs the error
      in what is predicted equally (Ho et al. 2020, arXiv 2006.11239, eq. 14).
    - `draw(rng, batch)`: gives times and factors (batch,); by default uniform, with the factor 1.
    - `callback(t, losses)`: gets the loss of each sample, without its factor.

    Raises TypeError or ValueError for data, conditions and outputs of a wrong shape or dtype, NaN
    in x0, predicting noise where alpha_bar_T = 0, a schedule of another T than the model's, and a
    parameterisation other than the model's own.
    """
    is_new = getattr(model, "parameterization", None) is None
    check_array("x0", x0)
    if is_new or isinstance(x0, np.ndarray):
        check_clean("x0", x0)
    batch = x0.shape[0]
    if batch == 0:
        raise ValueError(f"x0: given shape {x0.shape}, wanted at least one sample")
    condition = as_condition(condition, batch)
    parameterization = parameterization_of(
        model, schedule, predicts, learned_variance, x0.shape[1:]
    )
    rng = checks.generator("rng", rng)
    if draw is None:
        t = rng.integers(1, schedule.timesteps + 1, size=batch)
        factors = None  # all are 1
    else:
        t, factors = _drawn(draw, rng, batch, schedule.timesteps)
    noise = noise_on_host(rng, x0)
    alpha, sigma = schedule.alpha_sigma(t, noise)
    home = home_of(model)
    like = x0 if home is None else home.data
    x0, noise, alpha, sigma = from_host_together([x0, noise, alpha, sigma], like)
    x_t = weighted_sum(alpha, x0, sigma, noise)
    target = parameterization.target(x0, noise, alpha, sigma)

    if weight is None and draw is None and callback is None and not learned_variance:

        def mean_square(x_t: Array, t: np.ndarray, condition: Any, target: Array) -> Tensor:
            output, _ = parameterization.split(model(x_t, t, condition), x_t)
            return ops.mse_loss(output, target)

        total = sharded(mean_square)(x_t, t, condition, target)
        _note(model, parameterization)
        return total

    messages.refuse_maker("callback", callback)
    weights = _weights(weight, parameterization, t)

    def weighted_mean(
        x_t: Array, x0: Array, target: Array, condition: Any, rows: np.ndarray
    ) -> Tensor | tuple[Tensor, np.ndarray]:
        output, position = parameterization.split(model(x_t, t[rows], condition), x_t)
        axes = tuple(range(1, x0.ndim))
        of_samples = ops.mean((output - target) ** 2, axis=axes) * _like(x0, weights[rows])
        if position is not None:
            nats = _bound(parameterization, x0, x_t, t[rows], output.data, position)
            to_bits = schedule.timesteps / 1000 / math.log(2)
            of_samples = of_samples + ops.mean(nats, axis=axes) * to_bits
        without_factors = of_samples
        if factors is not None:
            of_samples = of_samples * _like(x0, factors[rows])
        mean = ops.mean(of_samples)
        return mean if callback is None else (mean, without_factors.numpy())

    total = sharded(weighted_mean)(x_t, x0, target, condition, np.arange(batch))
    _note(model, parameterization)
    if callback is not None:
        total, losses = total
        callback(t, losses.astype(np.float64))
    return total


def _note(model: Any, parameterization: Parameterization) -> None:
    """The model keeps what it has been asked for, once that went well."""
    if isinstance(model, Module) and model.parameterization is not parameterization:
        model.parameterization = parameterization


def _drawn(
    draw: Callable, rng: np.random.Generator, batch: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """The times in 1 … last and the factors, each (batch,)."""
    of = getattr(draw, "__self__", None)
    if isinstance(of, ImportanceSampler) and len(of.losses) != last:
        raise ValueError(
            f"draw: given an ImportanceSampler({len(of.losses)}), wanted one of the schedule's "
            f"times: type ImportanceSampler({last})"
        )
    messages.refuse_maker("draw", draw)
    drawn = draw(rng, batch)
    if not isinstance(drawn, tuple) or len(drawn) != 2:
        raise TypeError(
            f"draw: given one that gives {type(drawn).__name__}, "
            "wanted one that gives two arrays (batch,): the times and their factors"
        )
    t, factors = (checks.gives("draw", array, (batch,)) for array in drawn)
    checks.times("draw", t, last, batch, first=1)
    return t, factors


def _weights(weight: Weight | None, parameterization: Parameterization, t: np.ndarray):
    """The weights (batch,) of the squared error in what is predicted, float64 on the host."""
    if weight is None:
        return np.ones(len(t))
    messages.refuse_maker("weight", weight)
    alpha_bar = parameterization.schedule.alpha_bar_at(t)
    snr = alpha_bar / (1 - alpha_bar)
    per_x0 = {
        "noise": snr,
        "x0": np.ones_like(snr),
        "v": snr + 1,
        "velocity": (1 + np.sqrt(snr)) ** 2,
    }
    weights = weight(snr)
    if not isinstance(weights, int | float):
        checks.gives("weight", weights, snr.shape)
    return weights / per_x0[parameterization.predicts]


def _bound(parameterization, x0: Array, x_t: Array, t, output: Array, position: Any) -> Any:
    """The variational bound's term, elementwise, as a function of the variance alone."""
    schedule = parameterization.schedule
    alpha, sigma = schedule.alpha_sigma(t, x_t)
    predicted_x0, _ = parameterization.x0_and_noise(x_t, alpha, sigma, output)
    mean, _ = posterior(schedule, predicted_x0, x_t, t)
    log_variance = log_variance_between(schedule, x0, t, position)
    return step_nats(schedule, x0, x_t, t, mean, log_variance, discretised=True)


def _like(x: Array, values: np.ndarray) -> Array:
    """Host values (batch,) with the dtype and on the device of x."""
    return from_host(values.astype(x.dtype), x)


def label_dropout(
    condition: Any, prob_uncond: float, rng: np.random.Generator | int
) -> Array | None:
    """The condition with each row made null with probability `prob_uncond`.

    So one network learns p(x given y) and p(x). The condition is labels (batch,), vectors (batch,
    d), or None, which stays None. `rng` is a Generator; a seed drops the same rows at every call.
    Raises ValueError for a probability outside 0 … 1, TypeError or ValueError for what is no
    condition. Source: Ho & Salimans 2022, arXiv 2207.12598, algorithm 1.
    """
    checks.among("prob_uncond", prob_uncond, PROBABILITY)
    if condition is None:
        return None
    rows: Any = condition if hasattr(condition, "dtype") else np.asarray(condition)
    if rows.ndim == 0 or (rows.ndim == 1 and rows.dtype.kind == "f"):
        raise ValueError(
            f"condition: given {rows.dtype} of shape {rows.shape}, "
            "wanted integer labels (batch,) or vectors (batch, d)"
        )
    rows = as_condition(rows, rows.shape[0])  # names a wrong dtype or label
    keep = checks.generator("rng", rng).random(rows.shape[0]) >= prob_uncond
    return rows * (keep if rows.ndim == 1 else column(keep, rows))


# --- weights of the squared error in x_0 ---


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma), for v min(SNR, gamma) / (SNR + 1).

    At SNR = 0, the end of a `zero_terminal_snr` schedule, both are 0: the network learns nothing of
    time T, where sampling begins, but what it has from the times beside it. `truncated_snr`, or no
    weight, teaches it that time too. Source: Hang et al. 2023, arXiv 2303.09556, eq. 8 and section
    3.4.
    """
    checks.among("gamma", gamma, checks.Between(0, ends="(]"))
    return lambda snr: np.minimum(snr, gamma)


def truncated_snr(snr: np.ndarray) -> np.ndarray:
    """max(SNR, 1) (Salimans & Ho 2022, arXiv 2202.00512, section 4)."""
    return np.maximum(snr, 1.0)


def p2(gamma: float = 1.0, k: float = 1.0) -> Weight:
    """SNR / (k + SNR)^gamma, which for the noise is 1 / (k + SNR)^gamma.

    It is 0 at SNR = 0, as `min_snr` is. Source: Choi et al. 2022, arXiv 2204.00227, eq. 8.
    """
    checks.among("gamma", gamma, checks.Between(0))
    checks.among("k", k, checks.Between(0, ends="(]"))
    return lambda snr: snr / (k + snr) ** gamma


# --- who chooses the times, and who watches the losses ---


def log_normal(schedule: Schedule, mean: float, std: float) -> Callable:
    """A `draw` of times at which log(sigma / alpha) is normal, within those of the schedule.

    Their factors are 1, so that the network learns most at these noise levels. Raises ValueError
    for a standard deviation that is not positive, and where no time of the schedule is near.
    Source: Karras et al. 2022, arXiv 2206.00364, table 1 (P_mean, P_std), for whole times.
    """
    check_schedule(schedule)
    return _normal_in(lambda t: -schedule.half_log_snr(t), schedule.timesteps, mean, std)


def logit_normal(schedule: Schedule, mean: float = 0.0, std: float = 1.0) -> Callable:
    """A `draw` of times at which log(t / (T - t)) is normal: most are in the middle.

    Their factors are 1. On the straight path t / (T - t) is sigma / alpha, and this is
    `log_normal`; a shift of u = t / T to s u / (1 + (s - 1) u) adds log s to the mean. Raises as
    that. Source: Esser et al. 2024 (Stable Diffusion 3), arXiv 2403.03206, section 3.1, for whole
    times.
    """
    check_schedule(schedule)
    last = schedule.timesteps

    def logit(t: float) -> float:
        return math.log(t / (last - t)) if t < last else math.inf

    return _normal_in(logit, last, mean, std)


def _normal_in(value: Callable[[float], float], last: int, mean: float, std: float) -> Callable:
    """A `draw` of whole times 1 … last at which the value, which rises with t, is normal."""
    checks.among("mean", mean, checks.Between(-math.inf, math.inf, "()"))
    checks.among("std", std, checks.Between(0, ends="(]"))
    edges = np.append(np.arange(last) + 0.5, last)  # of what is nearest to the times 1 … T
    below = [NormalDist(mean, std).cdf(value(t)) for t in edges]
    shares = np.diff(below)
    if not shares.sum() > 0:
        raise ValueError(
            f"mean: given {mean} with std {std}, wanted noise levels near the schedule's, "
            f"{value(1):.3g} … {value(last):.3g}"
        )
    probabilities = shares / shares.sum()

    def draw(rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
        return 1 + rng.choice(last, batch, p=probabilities), np.ones(batch)

    return draw


class ImportanceSampler(Stateful):
    """Draws t with probability ∝ sqrt(E[loss_t²]), and corrects by the factor 1 / (T p_t).

    The mean is over the last losses seen at each t: give `draw` and `callback=….update` to `loss`.
    Until every t has been seen `history` times it draws evenly; later a share of 0.001 stays even.
    A `Trainer` keeps in its checkpoint what the sampler of its loss has seen.
    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.3.
    """

    def __init__(self, timesteps: int, history: int = 10):
        self.losses = np.zeros(checks.sizes(timesteps=timesteps, history=history))
        self.seen = np.zeros(timesteps, np.int64)

    def probabilities(self) -> np.ndarray:
        """p_t for t = 1 … T, (T,)."""
        timesteps, history = self.losses.shape
        p = np.sqrt(np.mean(self.losses**2, axis=1))
        if self.seen.min() < history or p.sum() == 0:
            return np.full(timesteps, 1 / timesteps)
        return 0.999 * p / p.sum() + 0.001 / timesteps

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) and their factors (n,)."""
        p = self.probabilities()
        i = rng.choice(len(p), size=n, p=p)
        return i + 1, 1 / (len(p) * p[i])

    def update(self, t: np.ndarray, losses: np.ndarray) -> None:
        """Take in the losses (batch,) that were seen at times t, those that are finite."""
        t = checks.times("t", t, len(self.losses), len(losses), first=1)
        history = self.losses.shape[1]
        for i, value in zip(t - 1, losses, strict=True):
            if math.isfinite(value):
                self.losses[i, self.seen[i] % history] = value
                self.seen[i] += 1

    def _arrays(self) -> dict[str, Array]:
        return {"losses": self.losses, "seen": self.seen}


class LossByTime(Stateful):
    """A callback of `loss` that averages the loss in bins of t."""

    def __init__(self, timesteps: int, bins: int = 10):
        timesteps = checks.whole("timesteps", timesteps, 1)
        checks.sizes(bins=bins)
        self.edges = np.linspace(0, timesteps, bins + 1)
        self.sums = np.zeros(bins)
        self.counts = np.zeros(bins)

    def __call__(self, t: np.ndarray, losses: np.ndarray) -> None:
        checks.times("t", t, int(self.edges[-1]), len(losses), first=1)
        bins = np.searchsorted(self.edges, t) - 1  # bin i holds edges[i] < t <= edges[i + 1]
        np.add.at(self.sums, bins, losses)
        np.add.at(self.counts, bins, 1)

    def _arrays(self) -> dict[str, Array]:
        return {"sums": self.sums, "counts": self.counts}

    def mean(self) -> np.ndarray:
        """The mean loss of each bin, (bins,), NaN where nothing was seen."""
        unseen = np.full_like(self.sums, np.nan)
        return np.divide(self.sums, self.counts, out=unseen, where=self.counts > 0)
