"""Where a convolution reads an image, and which of its taps meet one: vector bodies.

An image that needs zeros around it is copied into a small scratch that stays in the cache:

    scratch (row = wide · channels)
    0 0 0 0 0 0 0 0 0
    0 x x x x x x x 0        rows above and below are needed by the weight gradient only: elsewhere taps that lie
    0 x x x x x x x 0        outside of the image are left out
    0 0 0 0 0 0 0 0 0
"""

from . import functions


def bordered(e, x, into, height, width, channels, top, left, high, wide, spacing):
    """Copy one image into a scratch of high × wide pixels, which are zeros: around it, and between its columns."""
    # what is not below 0; no left below 0 with a spacing
    i, j = e.smaller(top, 0) * -1, e.smaller(left, 0) * -1
    columns, spaced = (
        e.smaller(width, (wide - left + (spacing - 1)) // spacing) - j,
        e.fewer(1, spacing),
    )
    span = e.choose(spaced, channels, columns * channels)  # a pixel, or a row

    @e.loop(e.smaller(height, high - top) - i)
    def _(k):
        source, to = (
            x + ((i + k) * width + j) * channels,
            into + ((i + k + top) * wide + j + left) * channels,
        )
        copy = lambda c: functions.copied(
            e, source + c * channels, to + c * spacing * channels, span
        )
        e.loop(e.choose(spaced, columns, 1))(copy)


def own_or_copied(
    e, own, after, reach, to, height, width, channels, top, left, high, wide, spacing
):
    """Where to read an image, and how wide it is there: if fewer than `reach` numbers come after it, in a copy."""
    copied = e.fewer(after, reach)
    e.when(
        copied,
        lambda: e.call(bordered, own, to, height, width, channels, top, left, high, wide, spacing),
    )
    return e.choose(copied, to, own), e.choose(copied, wide, width)


def meeting(e, first, step, count, size):
    """(start, end) of those k of 0 … count − 1 for which first + k · step lies in 0 … size − 1; end < start if none."""
    start, end = (
        (e.smaller(first, 0) * -1 + (step - 1)) // step,
        (size - first + (step - 1)) // step,
    )
    return e.smaller(count, start), e.smaller(count, end)
