"""The list of all exercises: each file of a group adds its own by `@exercise`."""

from collections.abc import Callable
from dataclasses import dataclass

# in the order of the lessons
GROUPS = (
    "tape",
    "table",
    "checks",
    "kernels",
    "noise",
    "samplers",
    "training",
    "digits",
    "own",
)


@dataclass(frozen=True)
class Exercise:
    """What marks one function of a reader's.

    `check` takes the function and raises at the first broken promise; it may give back a sentence
    that is worth telling when all is well. `hint` is told after a second try.
    """

    name: str
    group: str
    hint: str
    check: Callable[[Callable], str | None]


EXERCISES: dict[str, Exercise] = {}


def exercise(hint: str) -> Callable:
    """Decorator: the exercise of this function's name, in the group of its file's name."""

    def declare(check: Callable[[Callable], str | None]) -> Callable:
        group = check.__module__.rpartition(".")[2]
        EXERCISES[check.__name__] = Exercise(check.__name__, group, hint, check)
        return check

    return declare


def of_group(group: str) -> list[Exercise]:
    """The exercises of a group, in the order in which its file has them."""
    return [each for each in EXERCISES.values() if each.group == group]
