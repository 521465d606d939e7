"""Scaling to [-1, 1], fitted once on the training set; new data and samples use its numbers."""

from dataclasses import dataclass

import numpy as np

from .. import checks


def from_pixels(pixels: np.ndarray) -> np.ndarray:
    """Grey levels or colours, uint8, as float32 in [-1, 1]: 0 is −1, 255 is 1."""
    values = pixels.astype(np.float32)
    values /= 127.5
    values -= 1
    return values


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
        for name in ("low", "high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        one_shape = self.low.shape == self.high.shape and self.low.ndim == 1
        if not one_shape or not np.all(self.low < self.high):
            raise ValueError(
                f"low, high: given {self.low} and {self.high}, "
                "wanted (channels,) arrays with low < high"
            )

    @classmethod
    def fit(cls, samples: np.ndarray) -> "Scaling":
        """The scaling under which a training set (n, ..., channels) fills [-1, 1] by channel."""
        checks.data_set("samples", samples)
        axes = tuple(range(samples.ndim - 1))
        low = samples.min(axis=axes).astype(np.float64)
        high = samples.max(axis=axes).astype(np.float64)
        return cls(low, high)

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
            raise ValueError(
                f"samples: given shape {samples.shape} of {samples.dtype}, "
                f"wanted floats (..., {len(self.low)})"
            )
