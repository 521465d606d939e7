"""Settings that hold for every test."""

from hypothesis import HealthCheck, settings

# The same draws each time, so that a red test is red again; nothing is remembered between runs.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")
