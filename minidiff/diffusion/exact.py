"""Denoisers that need no training: for a Gaussian mixture and for a finite data set, x_0's
posterior mean is known.

Noisy data of a mixture is a mixture again: x_t ~ sum_k w_k N(alpha m_k, v_k) with v_k = alpha² s_k²
+ sigma². So is x_0 given x_t, with shares r_k ∝ w_k N(x_t; alpha m_k, v_k). Everything here follows
from that; with these denoisers the samplers, the guidance rules and the likelihood can be held
against closed forms.
"""

import math
from collections.abc import Callable

import numpy as np

from .. import ops
from ..kernels import Array, from_host, namespace
from .denoise import Denoise, Denoiser, Prediction
from .process import as_condition
from .schedule import Schedule


class GaussianMixture:
    """Isotropic Gaussians N(m_k, s_k² I) with weights w_k.

    means: (components, ...), a sample's shape after the first axis; stds, weights: one number or
    (components,), the weights are normalised; labels: the class 1 … of each component,
    (components,), by default each its own. Raises ValueError for other shapes, negative stds or
    weights, weights of 0 alone, labels below 1.
    """

    def __init__(self, means, stds=1.0, weights=1.0, labels=None):
        self.means = np.asarray(means, np.float64)
        if self.means.ndim < 2 or not len(self.means) or not np.isfinite(self.means).all():
            raise ValueError(
                f"means: given shape {self.means.shape}, wanted finite numbers (components, ...)"
            )
        count = len(self.means)
        self._flat = self.means.reshape(1, count, -1)
        self.stds, self.weights = (
            _per_component(stds, count, "stds"),
            _per_component(weights, count, "weights"),
        )
        if not self.weights.any():
            raise ValueError(f"weights: given {weights!r}, wanted one above 0, at least")
        self.weights = self.weights / self.weights.sum()
        self._variances = self.stds.reshape(1, -1, 1) ** 2
        self.labels = np.arange(1, count + 1) if labels is None else np.asarray(labels)
        if (
            self.labels.shape != (count,)
            or self.labels.dtype.kind not in "iu"
            or self.labels.min() < 1
        ):
            raise ValueError(f"labels: given {labels!r}, wanted ({count},) integers >= 1")

    def sample(self, n: int, rng: np.random.Generator, condition=None) -> np.ndarray:
        """n samples, (n, ...) float64; condition: None, one label, or labels (n,); 0 stands for any class."""
        share = np.cumsum(self._allowed(condition, n) * self.weights, axis=1)
        k = np.sum(rng.random((n, 1)) * share[:, -1:] >= share, axis=1)
        noise = rng.standard_normal((n, *self.means.shape[1:]))
        return self.means[k] + self.stds[k].reshape(-1, *[1] * (noise.ndim - 1)) * noise

    def mean_and_covariance(self, label: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of the flattened samples of a class, or of all with label 0."""
        weights, means = self.weights * self._allowed(label, 1)[0], self._flat[0]
        between = np.atleast_2d(np.cov(means.T, aweights=weights, ddof=0))
        within = np.average(self.stds**2, weights=weights) * np.eye(len(between))
        return np.average(means, axis=0, weights=weights), between + within

    def denoiser(self, schedule: Schedule) -> Denoise:
        """The exact Denoise: x_0's posterior mean, and the best diagonal variance of x_{t-1} given
        x_t.

        Condition: None, or host labels (batch,) in 0 … classes. Raises ValueError at t = 0 and for
        other labels. The variance is beta-tilde + c² Var[x_0 given x_t], where c is the posterior
        mean's factor of x_0 (Bao et al. 2022, arXiv 2201.06503, theorem 1).
        """

        def denoise(x: Array, t, condition: Array | None = None) -> Prediction:
            xp, like = namespace(x), _mover(x)
            log_joint, offset, alpha, sigma, variance = self._log_joint(schedule, x, t, condition)
            share = ops.softmax(log_joint, axis=1)[:, :, None]
            noise = xp.sum(share * offset * like(sigma / variance), axis=1)
            centre = like(self._flat) + offset * like(alpha * self._variances / variance)
            x0 = xp.sum(share * centre, axis=1)
            within = like(self._variances * sigma**2 / variance)
            spread = xp.sum(share * ((centre - x0[:, None]) ** 2 + within), axis=1)
            now, before = (
                schedule.alpha_bar_at(s).reshape(-1, 1)
                for s in (np.asarray(t), np.maximum(t, 1) - 1)
            )
            beta = 1 - now / before
            least, factor = beta * (1 - before) / (1 - now), before * (beta / (1 - now)) ** 2
            log_variance = xp.log(like(least) + like(factor) * spread + 1e-30)
            return Prediction(*(xp.reshape(part, x.shape) for part in (x0, noise, log_variance)))

        return Denoiser(denoise, schedule)

    def log_prob(self, schedule: Schedule) -> Callable:
        """The exact classifier on noisy data: a function (x_t, t, labels) -> log p(y given x_t),
        (batch,).

        x_t may be an array or a Tensor, so that `guidance.classifier` can take its gradient.
        """

        def log_prob(x, t, condition):
            every, wanted = (
                self._log_joint(schedule, x, t, labels)[0] for labels in (None, condition)
            )
            return ops.logsumexp(wanted, axis=1) - ops.logsumexp(every, axis=1)

        return log_prob

    def _log_joint(self, schedule, x, t, condition):
        """log w_k N(x_t; alpha m_k, v_k), (batch, components), and its parts, each (batch|1, components|1, d|1)."""
        alpha_bar = np.reshape(schedule.alpha_bar_at(t), (-1, 1, 1))
        if np.any(alpha_bar == 1):
            raise ValueError(
                "t: given 0, wanted more: nothing can be asked at t = 0, where there is no noise"
            )
        if x.shape[1:] != self.means.shape[1:]:
            raise ValueError(
                f"x: given shape {x.shape}, wanted (batch, {', '.join(map(str, self.means.shape[1:]))})"
            )
        like, means = _mover(x), self._flat
        alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        variance = alpha_bar * self._variances + (1 - alpha_bar)
        offset = ops.reshape(x, (x.shape[0], 1, means.shape[-1])) - like(alpha * means)
        allowed = self._allowed(condition, x.shape[0])
        with np.errstate(divide="ignore"):
            constant = np.log(allowed * self.weights) - 0.5 * means.shape[-1] * np.log(
                2 * math.pi * variance[:, :, 0]
            )
        log_joint = -0.5 * ops.sum(offset * offset * like(1 / variance), axis=2) + like(constant)
        return log_joint, offset, alpha, sigma, variance

    def _allowed(self, condition, n: int) -> np.ndarray:
        """Which components the condition of each sample allows, (n, components): none whose weight is 0."""
        condition = as_condition(0 if condition is None else condition, n)
        column = condition.reshape(-1, 1)
        allowed = ((column == 0) | (column == self.labels)) & (self.weights > 0)
        if condition.ndim != 1 or not allowed.any(axis=1).all():
            known = sorted(set(self.labels[self.weights > 0].tolist()))
            raise ValueError(
                f"condition: given {condition}, wanted labels among {known}, or 0 for any"
            )
        return allowed


class FiniteData(GaussianMixture):
    """The points of a data set, (count, ...), each as likely as its weight: a mixture with no
    width.

    Its denoiser is what a network that learned the training set by heart would give.
    """

    def __init__(self, points, weights=1.0, labels=None):
        super().__init__(points, 0.0, weights, labels)


def _per_component(values, count: int, name: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.shape not in ((), (count,)) or not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError(
            f"{name}: given {values!r}, wanted one number >= 0 or one per component, ({count},)"
        )
    return np.broadcast_to(array, (count,))


def _mover(x) -> Callable[[np.ndarray], Array]:
    """Moves host arrays to the dtype and the device of x, an array or a Tensor."""
    data = getattr(x, "data", x) if not isinstance(x, np.ndarray) else x
    return lambda host: from_host(np.asarray(host, x.dtype), data)
