"""Losses: how far a network's output is from what it should be, as one number.

Each loss has a value for every element or row, and `reduction` says what becomes of them: "mean",
"sum", or "none", which leaves them as they are. All are composed of other operations, so their
derivatives come by themselves. The two that networks train with most have kernels for the mean.
Their gradients are short:

    mse_loss         (x − y) · 2 / n
    cross_entropy    (softmax(logits) − one_hot(labels)) / n
"""

from typing import Any

import numpy as np

from ..checks import Between, among
from ..kernels import call, from_host
from ..tape.primitive import Primitive
from ..tape.tape import Value
from .elementwise import absolute, as_floats, equal, exp, log, softplus, where
from .indices import plain_index
from .layers import checked_ids, log_softmax
from .reductions import mean, sum
from .shapes import array_namespace, expand_dims, squeeze, take, take_along_axis


def _mse_rule(g, x, y, needs):
    dx = call("mse_loss_dx", g, x, y)
    return dx if needs[0] else None, -dx if needs[1] else None


# What the kernel of the cross-entropy hands on (aux) is the softmax.
# fmt: off
_mse_loss = Primitive("mse_loss", "x y", wants_floats=True,
                      joint=_mse_rule,
                      reference=lambda x, y: mean((x - y) * (x - y)))
_cross_entropy = Primitive("cross_entropy", "logits labels",
                           wants_floats=True, takes_integers="labels",
                           joint=lambda g, aux, labels:
                           [call("cross_entropy_dlogits", g, aux, labels), None],
                           reference=lambda logits, labels:
                           mean(_row_losses(log_softmax(logits), labels)))
# fmt: on


def mse_loss(x: Any, y: Any, reduction: str = "mean") -> Any:
    """(x − y)². Raises ValueError if the shapes differ."""
    _check_same_shape("mse_loss", x, y)
    if reduction == "mean":
        return _mse_loss(x, y)
    x, y = as_floats(x, y)
    return _reduced((x - y) * (x - y), reduction)


def huber_loss(x: Any, y: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """½·d² where d = |x − y| ≤ delta, else delta·(d − ½·delta) (Huber 1964).

    Raises ValueError if the shapes differ.
    """
    _check_same_shape("huber_loss", x, y)
    x, y = as_floats(x, y)
    difference = x - y
    distance = absolute(difference)
    is_near = distance <= delta
    near = where(is_near, difference, 0)  # the square of an infinite one has no slope
    far = delta * (distance - 0.5 * delta)
    return _reduced(where(is_near, 0.5 * near * near, far), reduction)


def binary_cross_entropy_with_logits(x: Any, y: Any, reduction: str = "mean") -> Any:
    """−y·log σ(x) − (1 − y)·log(1 − σ(x)), for logits x and probabilities y.

    Raises ValueError if the shapes differ.
    """
    _check_same_shape("binary_cross_entropy_with_logits", x, y)
    x, y = as_floats(x, y)
    return _reduced(y * softplus(-x) + (1 - y) * softplus(x), reduction)


def kl_div(x: Any, y: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """y·(log y − x), for log-probabilities x and probabilities y.

    With `log_target` y are log-probabilities too. An element is 0 where the probability y is. The
    further reduction "batchmean" divides the sum by the batch, which makes it the divergence
    KL(y ‖ eˣ) (Kullback & Leibler 1951). Raises ValueError if the shapes differ.
    """
    _check_same_shape("kl_div", x, y)
    x, y = as_floats(x, y)
    if log_target:
        losses = exp(y) * (y - x)
    else:
        is_zero = equal(y, 0)
        losses = where(is_zero, 0, y * (log(where(is_zero, 1, y)) - x))
    if reduction == "batchmean":
        return sum(losses) / x.shape[0]
    return _reduced(losses, reduction)


def cross_entropy(
    logits: Any,
    labels: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """−log softmax(logits)[label] of each row.

    logits are (…, classes), labels (…) integers in 0 … classes − 1. Rows labelled `ignore_index`
    count for nothing, nor does the mean count them. `label_smoothing` ε mixes each one-hot target
    with ε of the uniform distribution (Szegedy et al. 2016, §7). `weight` (classes,) says how much
    a class counts; the mean is over the weights of the labels, as in PyTorch.

    Labels may be probabilities too, floats of the shape of logits: a row's loss is then
    −Σ weight · label · log softmax(logits), and the mean counts each row once.

    Raises ValueError for shapes that do not fit, IndexError for a label out of range, if the labels
    are on the host; a device's are looked at in `debug_mode` only.
    """
    among("label_smoothing", label_smoothing, Between(0, 1))
    (logits,) = as_floats(logits)
    _check_weight(weight, logits.shape[-1])
    if hasattr(labels, "dtype") and labels.dtype.kind == "f":
        losses = _losses_of_probabilities(logits, labels, label_smoothing, weight)
        return _reduced(losses, reduction)
    labels, is_ignored, any_ignored = _checked_labels("logits", logits, labels, ignore_index)
    is_plain = len(logits.shape) == 2 and not any_ignored and not label_smoothing and weight is None
    if reduction == "mean" and is_plain:
        return _cross_entropy(logits, labels)
    labels, is_ignored = _on_device_of(logits, labels, is_ignored)
    losses = where(is_ignored, 0, _row_losses(log_softmax(logits), labels, label_smoothing, weight))
    return _reduced_rows(losses, labels, is_ignored, weight, reduction)


def nll_loss(
    log_probs: Any,
    labels: Any,
    ignore_index: int = -100,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """−log_probs[label] of each row: `cross_entropy` of what `log_softmax` gives.

    Raises as `cross_entropy` does.
    """
    (log_probs,) = as_floats(log_probs)
    _check_weight(weight, log_probs.shape[-1])
    labels, is_ignored, _ = _checked_labels("log_probs", log_probs, labels, ignore_index)
    labels, is_ignored = _on_device_of(log_probs, labels, is_ignored)
    losses = where(is_ignored, 0, _row_losses(log_probs, labels, 0.0, weight))
    return _reduced_rows(losses, labels, is_ignored, weight, reduction)


def _check_weight(weight, classes):
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ValueError(
            f"weight: given shape {tuple(weight.shape)}, wanted ({classes},), one for each class"
        )


def _checked_labels(name, rows, labels, ignore_index):
    """Labels of rows (…, classes), 0 where they are ignored; which are; whether there are any."""
    if isinstance(labels, int | tuple | np.integer):
        labels = np.asarray(labels)
    labels = plain_index(labels, np)
    if labels.shape != rows.shape[:-1]:
        raise ValueError(
            f"labels: given {labels.dtype} {labels.shape} for {name} {rows.shape}, wanted "
            f"integers {rows.shape[:-1]}, or for cross_entropy probabilities {rows.shape}"
        )
    xp = array_namespace(labels)
    is_ignored = labels == ignore_index
    any_ignored = bool(xp.any(is_ignored))
    if any_ignored:
        labels = xp.where(is_ignored, 0, labels)
    return checked_ids("labels", labels, rows.shape[-1]), is_ignored, any_ignored


def _on_device_of(rows, *arrays):
    """The arrays; those on the host are moved to where the rows are."""
    like = rows.data if isinstance(rows, Value) else rows
    return [from_host(a, like) if isinstance(a, np.ndarray) else a for a in arrays]


def _row_losses(log_p, labels, smoothing=0.0, weight=None):
    """The cross-entropy of each row of log-probabilities."""
    log_p = log_p if weight is None else log_p * weight
    losses = -squeeze(take_along_axis(log_p, expand_dims(labels, -1)), -1)
    if smoothing:
        return (1 - smoothing) * losses - smoothing * mean(log_p, axis=-1)
    return losses


def _reduced_rows(losses, labels, is_ignored, weight, reduction):
    """`_reduced`, where the mean counts a row as much as its label weighs, and not if ignored."""
    if reduction != "mean":
        return _reduced(losses, reduction)
    if weight is None:
        return sum(losses) / int(array_namespace(is_ignored).sum(~is_ignored))
    return sum(losses) / sum(where(is_ignored, 0, take(weight, labels)))


def _losses_of_probabilities(logits, labels, smoothing, weight):
    """The cross-entropy of each row, of labels that are probabilities."""
    if labels.shape != logits.shape:
        raise ValueError(
            f"cross_entropy: given logits {logits.shape} and labels {labels.dtype} "
            f"{labels.shape}, wanted probabilities of the shape of logits, or integers"
        )
    if smoothing:
        labels = (1 - smoothing) * labels + smoothing / logits.shape[-1]
    log_p = log_softmax(logits)
    return -sum(labels * (log_p if weight is None else log_p * weight), axis=-1)


def _reduced(losses, reduction):
    among("reduction", reduction, ("mean", "sum", "none"))
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def _check_same_shape(operation, x, y):
    if x.shape != y.shape:
        raise ValueError(f"{operation}: given x {x.shape} and y {y.shape}, wanted one shape")
