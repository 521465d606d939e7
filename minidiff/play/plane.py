"""Points in the plane, and the field of arrows that they follow."""

from typing import TYPE_CHECKING

import numpy as np

from .. import plot
from ..diffusion import Denoise
from .drawing import Settings, guide

if TYPE_CHECKING:
    from ..pictures import Picture

VIEW = 2.0  # from -2 to 2: the patterns lie within 1, and most of the noise within 2
ARROWS = 21  # along each side


def arrows(
    denoise: Denoise, label: int, settings: Settings, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places on a grid and, from each, the way to the x_0 that is predicted there: (m, 2) each."""
    line = np.linspace(-VIEW, VIEW, ARROWS, dtype=np.float32)
    places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    labels = np.full(len(places), label) if label else None
    return places, guide(denoise, settings)(places, t, labels).x0 - places


def picture(points: np.ndarray, places: np.ndarray, arrows: np.ndarray) -> "Picture":
    """The points on their way, and the arrows at a quarter of their length."""
    from ..pictures import Picture

    drawn = Picture(5.5, 5.5)
    axes = drawn.subplots()
    axes.quiver(
        *places.T, *arrows.T, angles="xy", scale_units="xy", scale=4, width=0.002, color="0.55"
    )
    axes.scatter(points[:, 0], points[:, 1], s=6, color="C1")
    axes.set(**plot.PLANE | {"xlim": (-VIEW, VIEW), "ylim": (-VIEW, VIEW)})
    axes.locator_params(integer=True)
    axes.tick_params(labelsize=14)  # a phone shows it at half its size
    return drawn
