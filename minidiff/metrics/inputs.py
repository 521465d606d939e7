"""What the figures are given, checked before anything is computed."""

from typing import Any

import numpy as np

from .. import checks

MOST_REPEATS = 10_000  # of a figure: more would be a slip, and never end


def feature_rows(name: str, rows: Any, least: int = 1) -> np.ndarray:
    """Finite float64 rows (n, d), n ≥ least and d ≥ 1; ValueError for anything else."""
    rows = checks.on_host(name, rows, np.float64)
    if rows.ndim != 2 or len(rows) < least or rows.shape[1] < 1:
        what = "feature row" if least == 1 else "feature rows"
        raise ValueError(f"{name}: given shape {rows.shape}, wanted (n, d): {least} {what} or more")
    return checks.data_set(name, rows)


def same_width(**widths: int) -> None:
    """ValueError unless the two sets of rows, by name, have as many features a row."""
    first, second = widths.values()
    if first != second:
        names = ", ".join(widths)
        raise ValueError(
            f"{names}: given {first} and {second} features a row, wanted the same number"
        )
