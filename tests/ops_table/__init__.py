"""The table `OPS`: for every operation, inputs to try it on, a reference in plain NumPy, and inputs
that it refuses.

A row is `Op(name, f, reference, samples, errors)`. It is named after a primitive (`Primitive.name`)
or a public function of `minidiff.ops`, and each of those has one: a test looks. The rooms are those
of `minidiff.ops`; a new operation gets a row in its own room.
"""

from .composed import ROWS as COMPOSED
from .core import ROWS as CORE
from .elementwise import ROWS as ELEMENTWISE
from .linalg import ROWS as LINALG
from .network import ROWS as NETWORK
from .numpy_like import ROWS as NUMPY_LIKE
from .numpy_names import ROWS as NUMPY_NAMES
from .reductions import ROWS as REDUCTIONS
from .row import Op as Op
from .row import covered as covered
from .shapes import ROWS as SHAPES
from .variants import ROWS as VARIANTS

ROWS = [
    *CORE,
    *ELEMENTWISE,
    *REDUCTIONS,
    *SHAPES,
    *NUMPY_LIKE,
    *NETWORK,
    *COMPOSED,
    *VARIANTS,
    *NUMPY_NAMES,
    *LINALG,
]
OPS = {row.name: row for row in ROWS}
