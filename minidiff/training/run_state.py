"""What a checkpoint knows of a run, beside arrays: how far it is, and with what it goes on."""

import warnings
from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

from .. import checks


class Progress(NamedTuple):
    """How far a run is. Seed and step are all that must be known of randomness."""

    seed: int
    step: int
    epoch: int  # how many are done
    seen: int  # samples of the epoch that is under way
    counted: int  # those of them whose losses are in the sum
    epoch_loss: float  # the sum of their losses
    skipped: int  # steps of the run
    history: dict[str, list[float]]
    data: str  # which data the epoch under way goes through
    batch_size: int
    rates: list[str | None]  # the learning rate of each group of the optimiser, in words
    logged: int  # lines of the log


def progress_in(notes: Mapping[str, Any], path: str | PathLike) -> Progress:
    """What a checkpoint at `path` says; ValueError for one that says nothing, or what cannot be."""
    if not notes.keys() >= set(Progress._fields):
        raise ValueError(f"path: given {path}, which holds a model, wanted the state of a Trainer")
    progress = Progress(*(notes[field] for field in Progress._fields))
    try:
        for name in ("seed", "step", "epoch", "seen", "counted", "skipped", "logged"):
            checks.whole(name, notes[name])
        checks.whole("batch_size", progress.batch_size, 1)
        checks.among("epoch_loss", progress.epoch_loss, checks.Between(float("-inf")))
        _check_history(progress.history)
        if not isinstance(progress.rates, list):
            raise TypeError(f"rates: given {type(progress.rates).__name__}, wanted a list")
        if not isinstance(progress.data, str):
            raise TypeError(f"data: given {type(progress.data).__name__}, wanted a string")
    except (TypeError, ValueError) as error:
        raise ValueError(f"path: given {path}, damaged, wanted a checkpoint: {error}") from None
    return progress


def _check_history(history: Any) -> None:
    if not isinstance(history, dict) or history.keys() != {"training", "validation"}:
        raise ValueError("history: given another thing, wanted lists of training and validation")
    for name, losses in history.items():
        _check_numbers(name, losses)


def _check_numbers(name: str, values: Any) -> None:
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{name}: given {values!r}, wanted a list of numbers")


def rates_of(optimizer: Any) -> list[str | None]:
    """The learning rate of each group in words, such as "warmup_cosine(peak=0.001, …)".

    None where there are none: of a function that keeps to itself what it was made with, and of
    another library's optimiser.
    """
    return [_in_words(group.get("lr")) for group in getattr(optimizer, "param_groups", [])]


def rate_at(optimizer: Any, step: int) -> dict[str, float]:
    """{"rate": the first group's learning rate at a step}, empty where it is not known."""
    groups = getattr(optimizer, "param_groups", None) or [{}]
    rate = groups[0].get("lr")
    if callable(rate):
        rate = rate(step)
    return {"rate": float(rate)} if isinstance(rate, int | float) else {}


def _in_words(rate: Any) -> str | None:
    if isinstance(rate, partial):
        arguments = [*map(repr, rate.args)]
        arguments += [f"{name}={value!r}" for name, value in rate.keywords.items()]
        return f"{rate.func.__name__.lstrip('_')}({', '.join(arguments)})"
    return str(rate) if isinstance(rate, int | float) else None


def check_rates(saved: list[str | None], own: list[str | None]) -> None:
    """Warn where a run goes on with another learning rate, so far as there are words for both."""
    if len(saved) == len(own):
        for before, now in zip(saved, own):
            if None not in (before, now) and before != now:
                warnings.warn(f"lr: given {now}, where the run had {before}", stacklevel=3)


def by_part(arrays: Mapping[str, Any], parts: list[str]) -> dict[str, dict[str, Any]]:
    """The arrays "part.name" of a checkpoint, by part; ValueError where it has other parts."""
    states: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for name, array in arrays.items():
        part = next((part for part in parts if name.startswith(f"{part}.")), None)
        if part is None:
            raise ValueError(
                f"parts: given {parts}, wanted what the checkpoint has, {list(arrays)}"
            )
        states[part][name.removeprefix(f"{part}.")] = array
    return states
