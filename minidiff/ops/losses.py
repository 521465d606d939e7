"""Losses. `reduction` says what becomes of a loss for each element: its "mean", its "sum", or "none"."""

from typing import Any

import numpy as np

from ..kernels import call
from ..tape.primitive import Primitive
from .elementwise import absolute, equal, exp, log, softplus, where
from .layers import checked_ids, log_softmax
from .reductions import mean, sum
from .shapes import array_namespace, expand_dims, plain_index, squeeze, take_along_axis

_cross_entropy = Primitive("cross_entropy", "logits labels", takes_integers=True,
                           joint=lambda g, aux, labels: [call("cross_entropy_dlogits", g, aux, labels), None],
                           reference=lambda logits, labels: mean(_each_cross_entropy(logits, labels)))  # fmt: skip


def _mse_rule(g, x, y, needs):
    dx = call("mse_loss_dx", g, x, y)
    return dx if needs[0] else None, -dx if needs[1] else None


_mse_loss = Primitive(
    "mse_loss", "x y", joint=_mse_rule, reference=lambda x, y: mean((x - y) * (x - y))
)


def mse_loss(x: Any, y: Any, reduction: str = "mean") -> Any:
    """(x − y)². Raises ValueError if the shapes differ."""
    _check("mse_loss", x, y)
    return _mse_loss(x, y) if reduction == "mean" else _reduced((x - y) * (x - y), reduction)


def huber_loss(x: Any, y: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """½·d² where d = |x − y| ≤ delta, else delta·(d − ½·delta) (Huber 1964)."""
    _check("huber_loss", x, y)
    d = x - y
    return _reduced(
        where(absolute(d) <= delta, 0.5 * d * d, delta * (absolute(d) - 0.5 * delta)), reduction
    )


def binary_cross_entropy_with_logits(x: Any, y: Any, reduction: str = "mean") -> Any:
    """−y·log σ(x) − (1 − y)·log(1 − σ(x)), for logits x and probabilities y."""
    _check("binary_cross_entropy_with_logits", x, y)
    return _reduced(y * softplus(-x) + (1 - y) * softplus(x), reduction)


def kl_div(x: Any, y: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """y·(log y − x), for log-probabilities x and probabilities y (their logarithms, with
    `log_target`).

    Nothing is added where y is 0. "batchmean" divides the sum by the batch, which makes it the
    divergence KL(y ‖ eˣ).
    """
    _check("kl_div", x, y)
    none = equal(y, 0)
    each = exp(y) * (y - x) if log_target else where(none, 0, y * (log(where(none, 1, y)) - x))
    return sum(each) / x.shape[0] if reduction == "batchmean" else _reduced(each, reduction)


def cross_entropy(
    logits: Any,
    labels: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """−log softmax(logits)[label]; logits (…, classes), labels (…) ints in 0 … classes − 1.

    Rows labelled `ignore_index` count for nothing, in the mean neither. `label_smoothing` ε mixes
    each one-hot target with ε of the uniform distribution (Szegedy et al. 2016). Raises ValueError
    for shapes that do not fit, IndexError for a label out of range.
    """
    labels = (
        np.asarray(labels)
        if isinstance(labels, int | tuple | np.integer)
        else plain_index(labels, np)
    )
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: wants logits (…, classes), labels (…); got {logits.shape}, {labels.shape}"
        )
    xp, ignored = array_namespace(labels), labels == ignore_index
    some = bool(xp.any(ignored))
    labels = checked_ids(
        "cross_entropy",
        "labels",
        xp.where(ignored, 0, labels) if some else labels,
        logits.shape[-1],
    )
    if reduction == "mean" and not (some or label_smoothing) and len(logits.shape) == 2:
        return _cross_entropy(logits, labels)
    each = where(ignored, 0, _each_cross_entropy(logits, labels, label_smoothing))
    return sum(each) / int((~ignored).sum()) if reduction == "mean" else _reduced(each, reduction)


def _each_cross_entropy(logits, labels, smoothing=0.0):
    logp = log_softmax(logits)
    nll = -squeeze(take_along_axis(logp, expand_dims(labels, -1)), -1)
    return (1 - smoothing) * nll - smoothing * mean(logp, axis=-1) if smoothing else nll


def _reduced(each, reduction):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none"; got {reduction!r}')
    return each if reduction == "none" else mean(each) if reduction == "mean" else sum(each)


def _check(name, x, y):
    if x.shape != y.shape:
        raise ValueError(f"{name}: x and y must have one shape; got {x.shape} and {y.shape}")
