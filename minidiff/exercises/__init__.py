"""Exercises that mark themselves: what a reader wrote is held to what it promises.

    minidiff exercises                        all that stand in lessons/exercises
    minidiff exercises table ddim_step        a group, and one more
    minidiff exercises copy FOLDER            a student's copy, without the solutions

or in a cell of a notebook:

    from minidiff.exercises import mark
    mark(my_function, "ddim_step")

Their texts are in lessons/exercises. Here is what marks them: a group is a file (`tape.py`,
`table.py` …), and a function in it takes the reader's function, tries it, and raises `PromiseError`
at the first promise that is broken. `evidence.py` has what all of them use; start there. Needs
hypothesis: pip install "minidiff[testing]".
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .marking import Mark, mark

__all__ = ["Mark", "mark"]


def __getattr__(name: str) -> Any:
    """`mark` and `Mark`, when they are asked for: the command needs no hypothesis to be listed."""
    if name in __all__:
        from . import all_groups as all_groups
        from . import marking

        return getattr(marking, name)
    raise AttributeError(f"module 'minidiff.exercises' has no attribute {name!r}")
