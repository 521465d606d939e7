"""Draws that are the same each time, so that a red test is red again; nothing is remembered.

Hypothesis mixes into its draws the constants that it finds in the source of the modules that are
loaded. So a draw would change with any line of minidiff, and with what another test imported.
"""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

_NO_CONSTANTS = providers.Constants()
assert callable(providers._get_local_constants), "hypothesis has another name for it"
providers._get_local_constants = lambda: _NO_CONSTANTS

settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")
