"""Settings that hold for every test."""

import steady_draws  # noqa: F401
