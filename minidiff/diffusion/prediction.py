"""What a denoiser says about x_t: the x_0 and the noise that x_t is made of.

Every sampler and every guidance rule works on one kind of function, `Denoise`:

    (x_t, t, condition) -> Prediction(x0, noise)
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import checks, messages
from ..kernels import Array, namespace
from .per_sample import as_condition, weighted_sum
from .schedule import Schedule, check_schedule


def brief(**parts: Any) -> str:
    """Arrays by their shapes alone, for a repr of one line."""
    texts = (f"{tuple(p.shape)} of {p.dtype}" if hasattr(p, "dtype") else p for p in parts.values())
    return ", ".join(f"{name}: {text}" for name, text in zip(parts, texts))


class Prediction(NamedTuple):
    """The predicted x_0 and noise of x_t = alpha x0 + sigma noise, in x_t's shape and dtype.

    `log_variance` is the log of the predicted variance of x_{t-1} given x_t, elementwise, where
    there is one.
    """

    x0: Array
    noise: Array
    log_variance: Array | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({brief(**self._asdict())})"


class FreeNoise(Prediction):
    """A prediction whose noise does not follow from its x0 (CFG++): clipping x0 leaves it alone."""

    __slots__ = ()


@dataclass(frozen=True)
class Denoise(messages.Made):
    """A function (x_t, t, condition) -> Prediction, with the schedule that t and x_t belong to.

    x_t is (batch, ...); t one host number or (batch,), in 0 … T; the condition None (null), labels
    (batch,) on the host, or vectors (batch, d). `sample_shape` is the shape of one sample, where it
    is known: `sample` draws such ones. `network` is the Module that the function asks, where it is
    one: `sample` draws on its device.

    `denoiser` makes a Denoise of a network, `exact.GaussianMixture` needs none, and a plain
    function becomes one by Denoise(function, schedule). Raises TypeError for what is not a function
    of these three, for anything but a Schedule, and, when it is called, for a function that gives
    no Prediction, or one of another shape or dtype than x_t.
    """

    function: Callable[[Array, Any, Any], Prediction]
    schedule: Schedule
    sample_shape: tuple[int, ...] | None = None
    network: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        messages.refuse_maker("function", self.function)
        checks.function_of("function", self.function, "x, t, condition")
        check_schedule(self.schedule)

    def __call__(self, x: Array, t: Any, condition: Any = None) -> Prediction:
        return checked_prediction("function", self.function(x, t, condition), x)


def checked_prediction(
    name: str, value: Any, x: Array, may_lack: Collection[str] = ("log_variance",)
) -> Prediction:
    """What the function of this name gave; TypeError unless it is a Prediction of arrays like x."""
    if not isinstance(value, Prediction):
        raise TypeError(
            f"{name}: given one that gives {type(value).__name__}, "
            "wanted one that gives a diffusion.Prediction(x0, noise)"
        )
    for part, array in zip(value._fields, value):
        if array is not None or part not in may_lack:
            checks.gives(name, array, x.shape, x.dtype)
    return value


# --- a sample that is to be the same in any batch ---

_one_by_one = ContextVar("one_by_one", default=False)


@contextmanager
def one_by_one(wanted: bool) -> Iterator[None]:
    """Meanwhile, if it is wanted, denoisers are asked for one sample at a time.

    Rows of a batch differ in the last bits with its size: a product of matrices sums in another
    order. A sample that is to be the same in any batch must be computed alone.
    """
    before = _one_by_one.set(wanted)
    try:
        yield
    finally:
        _one_by_one.reset(before)


def alone_if_asked(denoise: Callable[..., Prediction]) -> Callable[..., Prediction]:
    """The function of a Denoise, which goes through a batch one by one inside `one_by_one`."""

    def asked(x: Array, t: Any, condition: Any = None) -> Prediction:
        batch = len(x)
        if not _one_by_one.get() or batch < 2:
            return denoise(x, t, condition)
        times = np.broadcast_to(t, (batch,))
        condition = as_condition(condition, batch)
        alone = []
        for i in range(batch):
            row = slice(i, i + 1)
            alone.append(denoise(x[row], times[row], None if condition is None else condition[row]))
        parts = zip(*alone)
        return Prediction(
            *(None if part[0] is None else namespace(x).concatenate(part) for part in parts)
        )

    return asked


# --- x_0 and noise, one from the other ---


def noise_from_x0(schedule: Schedule, x: Array, t: Any, x0: Array) -> Array:
    """noise = (x_t - alpha x_0) / sigma."""
    alpha, sigma = schedule.alpha_sigma(t, x)
    return (x - alpha * x0) / sigma


def x0_from_noise(schedule: Schedule, x: Array, t: Any, noise: Array) -> Array:
    """x_0 = (x_t - sigma noise) / alpha.

    Raises ValueError where alpha_bar = 0: there x_t says nothing of x_0.
    """
    if np.any(schedule.alpha_bar_at(t) == 0):
        raise ValueError(
            f"t: given {t}, where alpha_bar = 0; wanted a time at which the noise tells x_0"
        )
    alpha, sigma = schedule.alpha_sigma(t, x)
    return weighted_sum(1 / alpha, x, -sigma / alpha, noise)
