"""Tests for operations, yours and ours: one checker of what an operation promises, and strategies.

    from minidiff.testing import arrays, check_op

    def test_mish():
        check_op(mish, arrays(), reference=lambda x: x * np.tanh(np.log1p(np.exp(x))))

draws arrays of many shapes (zero-size and 0-d among them) and memory layouts, and fails with a
message that says which promise is broken: a wrong value, sign, dtype, first or second derivative, a
missing broadcast, a changed input, memory that is used twice.

Start with `promises.py`. Needs hypothesis: pip install "minidiff[testing]".
"""

import sys

from .. import messages
from .promises import check_op
from .strategies import (
    LAYOUTS,
    arrays,
    broadcasting,
    convolutions,
    layouts,
    schedules,
    shapes,
    tensors,
)

__all__ = [
    "LAYOUTS",
    "arrays",
    "broadcasting",
    "check_op",
    "convolutions",
    "layouts",
    "schedules",
    "shapes",
    "tensors",
]

messages.open_doors(sys.modules[__name__])
