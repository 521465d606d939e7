"""Images whose columns are taken some way apart, with zeros between: see `direct.phases`."""

from functools import cache

from .. import sweeps
from ..views import View, ceil_divide


@cache
def copy_spaced(spacing: int):
    """`borders.bordered` for columns that come to lie `spacing` apart; nothing is cut off."""

    def copy(e, image, to, frame):
        source = View.of(image, frame.height, frame.width, frame.channels)
        target = View.of(to, frame.high, frame.wide, frame.channels)[:, frame.left :: spacing]
        columns = e.min(frame.width, ceil_divide(frame.wide - frame.left, spacing))

        @e.loop(frame.height, columns)
        def pixel(i, j):
            sweeps.copy(e, source.at(i, j), target.at(i, j), frame.channels)

    return copy
