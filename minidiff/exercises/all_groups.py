"""Imports each group, so that all exercises are declared: take `EXERCISES` from here.

Raises ModuleNotFoundError where hypothesis is missing.
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
from .declared import EXERCISES as EXERCISES
from .declared import GROUPS as GROUPS
from .declared import of_group as of_group
