"""The table `OPS`: every operation with inputs to try, a reference, and inputs that it refuses.

A row is `Op(name, f, reference, samples, errors)`. It is named after a primitive (`Primitive.name`)
or a public function of `minidiff.ops`, and each of those has one: a test looks. The rooms are those
of `minidiff.ops`, and two more: `core` has what differentiation itself needs, `numpy_like` the
operations whose reference is NumPy's function of the same name. A new operation gets a row in its
own room.
"""

from . import (
    convolution,
    core,
    elementwise,
    layers,
    linalg,
    losses,
    norms,
    numpy_like,
    numpy_names,
    pooling,
    reductions,
    shapes,
)
from .row import Op as Op
from .row import covered as covered

ROOMS = [
    core,
    elementwise,
    reductions,
    shapes,
    numpy_like,
    convolution,
    pooling,
    norms,
    layers,
    losses,
    numpy_names,
    linalg,
]
OPS = {row.name: row for room in ROOMS for row in room.ROWS}
