"""Exercises that mark themselves: what a reader wrote is held to what it promises.

    python -m minidiff.exercises                        all that stand in lessons/exercises
    python -m minidiff.exercises table ddim_step        a group, and one more
    python -m minidiff.exercises copy FOLDER            a student's copy, without the solutions

or in a cell of a notebook:

    from minidiff.exercises import mark
    mark(my_function, "ddim_step")

Their texts are in lessons/exercises. Here is what marks them: a group is a file (`tape.py`,
`table.py` …), and a function in it takes the reader's function, tries it, and raises `PromiseError`
at the first promise that is broken. `evidence.py` has what all of them use; start there. Needs
hypothesis: pip install "minidiff[testing]".
"""

try:
    import hypothesis as hypothesis
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'exercises: hypothesis is missing, which tries your rules: pip install "minidiff[testing]"'
    ) from error

from . import checks as checks
from . import digits as digits
from . import kernels as kernels
from . import noise as noise
from . import own as own
from . import samplers as samplers
from . import table as table
from . import tape as tape
from . import training as training
from .marking import Mark, mark

__all__ = ["Mark", "mark"]
