"""What is asked of data before it is trained on."""

import inspect
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from .. import checks
from ..autograd.tensor import no_grad
from ..data.on_disk import OnDisk
from ..nn import Module


def arrays_of(name: str, data: np.ndarray | Sequence) -> Sequence:
    """Its arrays, samples first; one array alone is samples without labels."""
    parts = data if isinstance(data, tuple | list) else (data,)
    arrays = [np.asarray(part) if isinstance(part, list) else part for part in parts]
    for array in arrays:
        checks.plain(name, array)
        if array is not None:
            checks.on_host(name, array)
    if not arrays:
        raise ValueError(f"{name}: given no array, wanted one or more, such as (images, labels)")
    if not isinstance(arrays[0], OnDisk):  # those are bytes, which no check must read
        checks.data_set(name, arrays[0])
    for array in arrays[1:]:
        if array is not None and np.shape(array)[:1] != (len(arrays[0]),):
            raise ValueError(
                f"{name}: given an array of shape {np.shape(array)}, "
                f"wanted ({len(arrays[0])}, …): one row for each sample"
            )
    return arrays


def check_call(loss: Callable, data: Sequence) -> None:
    """TypeError unless `loss` can be called with a batch of each array, and rng."""
    try:
        inspect.signature(loss).bind(*data, None)
    except TypeError as error:
        raise TypeError(
            f"loss: given a function that does not take (*batch, rng) ({error}), wanted one of "
            f"{len(data) + 1} arguments: data has {len(data)} array(s), and several are given as "
            "one tuple, (images, labels)"
        ) from None


def try_extremes(name: str, model: Module, loss: Callable, data: Sequence) -> None:
    """The loss of the samples with the least and the largest labels: it raises what it has to say.

    Nothing is learned from it.
    """
    rows = {0}
    for array in data[1:]:
        if _is_labels(array):
            rows |= {int(array.argmin()), int(array.argmax())}
    batch = [None if array is None else array[sorted(rows)] for array in data]
    try:
        with model.evaluating(), no_grad():
            loss(*batch, np.random.default_rng(0))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def check_labels(name: str, model: Module, data: Sequence) -> None:
    """Refuse labels 0 … classes - 1 where 0 is the null label: one class would be lost in it.

    Null labels alone, or some beside all the others, are a choice, and a handful of samples may
    well lack the last class. Classifiers count from 0. What the model is, `diffusion.loss` has
    noted on it.
    """
    classes = model.config.get("classes")
    if model.parameterization is None or classes is None or len(data[0]) < 2 * classes:
        return
    for array in data[1:]:
        if _is_labels(array) and array.min() == 0 and min(1, classes - 1) <= array.max() < classes:
            raise ValueError(
                f"{name}: given labels 0 … {array.max()}, wanted labels in 1 … {classes} "
                "(0 is the null label): type labels + 1"
            )


def check_range(name: str, model: Module, data: Sequence) -> None:
    """Refuse labels that a model of so many classes cannot take, before one of them comes up."""
    classes = model.config.get("classes")
    for array in data[1:]:
        if classes is not None and _is_labels(array) and array.max() > classes:
            raise ValueError(
                f"{name}: given labels {array.min()} … {array.max()}, wanted at most {classes}"
            )


def _is_labels(array: np.ndarray | None) -> bool:
    return array is not None and array.ndim == 1 and array.dtype.kind in "iu"


def fingerprint(data: Sequence) -> str:
    """What tells one data set from another: shapes and checksums."""
    return " ".join(_fingerprint_of(array) for array in data if array is not None)


def _fingerprint_of(array: np.ndarray | OnDisk) -> str:
    if isinstance(array, OnDisk):
        return array.fingerprint()
    return f"{array.shape} {zlib.crc32(np.ascontiguousarray(array).data):08x}"
