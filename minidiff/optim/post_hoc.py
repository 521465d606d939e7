"""Averages of any width, made after training (Karras et al. 2024, arXiv 2312.02696, section 3).

How long the weights are averaged decides much about what they draw, and nobody knows beforehand how
long is right. An average whose memory grows with training has a shape that does not depend on the
step: after t updates, weights of update s count ∝ s^γ. Shapes of two γ, kept at some moments of the
training, span the others nearly:

    γ = 7    ▁▁▂▃▄▅▇          kept at a quarter, a half, …, of the training, both; a third shape is
    γ = 17   ▁▁▁▁▁▃▇          the sum of them that is nearest to it (least squares)

A shape is named by its width: its standard deviation, as a share of the training so far.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .. import checks, kernels
from ..kernels import Array
from ..nn import Module
from .average import EMA

_WIDEST = 12**-0.5  # the width of the plain mean of all updates


class PowerLaw:
    """The decay of an `EMA` whose weights of update s count ∝ s^γ: (1 − 1/k)^(γ + 1) at update k.

    `width` is the standard deviation of s over the number of updates so far. Raises ValueError
    unless 0 < width < 1 / √12, which is that of the plain mean (γ = 0). Source: Karras et al. 2024,
    arXiv 2312.02696, section 3.1 and appendix C.
    """

    def __init__(self, width: float):
        self.width = float(checks.among("width", width, checks.Between(0, _WIDEST, "()")))
        # width² = (γ + 1) / ((γ + 2)² (γ + 3)), solved for γ
        inverse = self.width**-2
        roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
        self.gamma = float(roots.real.max())

    def __call__(self, k: int) -> float:
        return (1 - 1 / k) ** (self.gamma + 1)

    def __repr__(self) -> str:
        return f"PowerLaw({self.width})"


class PostHocEMA(EMA):
    """An `EMA` of the first of two widths, from which `averaged` makes one of any other width.

    At each of the updates `moments`, counted from 1, a copy of both averages is kept: so much
    memory it takes, and so much a checkpoint holds. Eight or more, evenly over the training, will
    do. Raises ValueError for moments that are no rising integers, and as `PowerLaw`.
    """

    def __init__(
        self, model: Module, moments: Sequence[int], widths: tuple[float, float] = (0.1, 0.05)
    ):
        self.moments = [checks.whole("moments", moment, 1) for moment in moments]
        if not self.moments or sorted(set(self.moments)) != self.moments:
            raise ValueError(f"moments: given {moments}, wanted rising numbers of updates")
        if not isinstance(widths, tuple | list) or len(set(widths)) != 2:
            raise ValueError(f"widths: given {widths!r}, wanted two, such as (0.1, 0.05)")
        self.shapes = [PowerLaw(width) for width in widths]
        super().__init__(model, self.shapes[0])
        self.second = EMA(model, self.shapes[1])
        count = len(self.moments)
        self.kept = {
            name: kernels.namespace(p.data).zeros((count, 2, *p.shape), p.dtype)
            for name, p in self.parameters.items()
        }

    def update(self) -> None:
        """Take the weights as they are now into both averages; keep them where it is a moment."""
        super().update()
        self.second.update()
        if self.updates in self.moments:
            moment = self.moments.index(self.updates)
            for name, kept in self.kept.items():
                kept[moment, 0] = self.average[name]
                kept[moment, 1] = self.second.average[name]

    def averaged(self, width: float) -> dict[str, Array]:
        """The weights averaged up to the last moment that was reached, in a shape of that width.

        They have the names that `Module.load_state_dict` wants; buffers are as they are now. Raises
        RuntimeError before the first moment, ValueError for a width that cannot be.
        """
        reached = [moment for moment in self.moments if moment <= self.updates]
        if not reached:
            raise RuntimeError(
                f"averaged: given {self.updates} updates so far, wanted {self.moments[0]}, the "
                f"first moment"
            )
        shapes = [(moment, shape.gamma) for moment in reached for shape in self.shapes]
        wanted = (reached[-1], PowerLaw(width).gamma)
        shares = _nearest_sum(shapes, wanted)
        averaged = {name: buffer.data for name, buffer in self._buffers().items()}
        for name, kept in self.kept.items():
            rows = kept[: len(reached)].reshape((len(shapes), -1))
            share = kernels.from_host(shares.astype(rows.dtype), rows)
            averaged[name] = (share @ rows).reshape(kept.shape[2:])
        return averaged

    def _arrays(self) -> dict[str, Array]:
        second = {f"second.{name}": array for name, array in self.second._arrays().items()}
        kept = {f"kept.{name}": array for name, array in self.kept.items()}
        return super()._arrays() | second | kept

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        super()._set_counts(counts)
        self.second._set_counts(counts)


def _nearest_sum(shapes: Sequence[tuple[int, float]], wanted: tuple[int, float]) -> np.ndarray:
    """How much of each shape (updates, γ) to add up, so that the sum is nearest to another."""
    products = np.array([[_inner_product(a, b) for b in shapes] for a in shapes])
    with_wanted = np.array([_inner_product(a, wanted) for a in shapes])
    return np.linalg.lstsq(products, with_wanted, rcond=None)[0]


def _inner_product(a: tuple[int, float], b: tuple[int, float]) -> float:
    """∫ of the product of two shapes (γ + 1) s^γ / t^(γ + 1), s from 0 to the smaller t."""
    (short, of_short), (long, of_long) = sorted([a, b])
    factor = (of_short + 1) * (of_long + 1) / (of_short + of_long + 1)
    return factor * (short / long) ** of_long / long
