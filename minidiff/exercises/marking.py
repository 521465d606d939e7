"""Marking one function: done, wrong or empty, and why."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import checks
from .declared import EXERCISES
from .evidence import PromiseError

TRIES_BEFORE_HINT = 2


@dataclass(frozen=True)
class Mark:
    """How an exercise stands: `state` is "done", "wrong" or "empty"."""

    name: str
    state: str
    message: str = ""

    def __repr__(self) -> str:
        return f"{self.name}: {self.state}. {self.message}".strip()

    def with_hint(self, tries: int) -> "Mark":
        """The same, with the hint when it is not the first wrong try."""
        if self.state != "wrong" or tries < TRIES_BEFORE_HINT:
            return self
        return Mark(self.name, self.state, f"{self.message} Hint: {EXERCISES[self.name].hint}")


_tries: dict[str, int] = {}  # wrong ones in this process, by name


def mark(function: Callable, name: str) -> Mark:
    """Hold a function of yours to what the exercise `name` promises, in a notebook, say.

    A second wrong try gets a hint. Raises ValueError for a name that no exercise has.
    """
    checks.among("name", name, tuple(EXERCISES))
    marked = marked_once(function, name)
    _tries[name] = tries_after(marked, _tries.get(name, 0))
    return marked.with_hint(_tries[name])


def tries_after(marked: Mark, tries: int) -> int:
    """How many wrong tries there were: an exercise that is done starts anew."""
    return {"done": 0, "empty": tries, "wrong": tries + 1}[marked.state]


def marked_once(function: Callable, name: str) -> Mark:
    """Mark it, without a hint."""
    try:
        with np.errstate(all="ignore"):  # what overflows is told as a broken promise
            note = EXERCISES[name].check(function)
    except NotImplementedError:
        return Mark(name, "empty", "Its body is missing: write it in place of the last line.")
    except (PromiseError, AssertionError) as error:
        return Mark(name, "wrong", _first_sentence(error))
    except Exception as error:
        return Mark(name, "wrong", _stopped(error, function))
    return Mark(name, "done", note or "")


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _stopped(error: Exception, function: Callable) -> str:
    """The sentence for a function that raised, with its own line if it has one."""
    sentence = f"It stops with {type(error).__name__}: {_first_sentence(error)}"
    code = getattr(function, "__code__", None)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if code and frame.filename == code.co_filename
    ]
    return f"{sentence} (line {lines[-1]})" if lines else sentence
