"""Scaling to [-1, 1], fitted once on the training set; new data uses the same numbers, samples go back by them."""

from dataclasses import dataclass

import numpy as np

from minidiff.data.checks import check_samples


@dataclass(frozen=True)
class Scaling:
    """The map from [low, high] to [-1, 1], one interval per channel.

    low, high: (channels,) float64. `apply` and `inverse` take arrays (..., channels) and keep their
    dtype. Values outside the fitted range, as validation data may hold, come out beyond -1 or 1 and
    are not clipped.
    """

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        if (
            self.low.shape != self.high.shape
            or self.low.ndim != 1
            or not np.all(self.low < self.high)
        ):
            raise ValueError(
                f"low, high: found {self.low} and {self.high}, wanted (channels,) arrays with low < high"
            )

    @classmethod
    def fit(cls, samples: np.ndarray) -> "Scaling":
        """The scaling under which the training set `samples` (n, ..., channels) fills [-1, 1] in each channel."""
        check_samples(samples)
        axes = tuple(range(samples.ndim - 1))
        return cls(
            samples.min(axis=axes).astype(np.float64), samples.max(axis=axes).astype(np.float64)
        )

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """From the data's units to [-1, 1]."""
        self._check(samples)
        return ((samples - self.low) / (self.high - self.low) * 2 - 1).astype(samples.dtype)

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """From [-1, 1] back to the data's units."""
        self._check(scaled)
        return ((scaled + 1) / 2 * (self.high - self.low) + self.low).astype(scaled.dtype)

    def _check(self, samples: np.ndarray) -> None:
        if samples.shape[-1:] != self.low.shape or samples.dtype.kind != "f":
            found = f"shape {samples.shape} of {samples.dtype}"
            raise ValueError(f"samples: found {found}, wanted floats (..., {len(self.low)})")
