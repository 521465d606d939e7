"""One good call of every public function, class and method, for tests/test_messages.py.

A call is Python. Its names are those of `given.py`, of the rooms of minidiff and of its operations;
the first callable in it is what it stands for. A new public name needs a call here: a test says
which.
"""

from .given import Given as Given
from .operations import OPS
from .rooms import AROUND, DIFFUSION, ENGINE, NN

ROOMS = {"ops": OPS, "engine": ENGINE, "nn": NN, "diffusion": DIFFUSION, "around": AROUND}
