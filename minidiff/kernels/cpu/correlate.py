"""Direct convolution, the vector body: tiles walk along the rows of the output.

    scratch                                output
    0 x x x x x x x 0                      . . . . . . .
    0 x x x x x x x 0      w (3 × 3)       [ one tile ] .    tiles of neighbours; the last one
    0 x x x x x x x 0   ⋆            =     . . [ tile   ]    of a row overlaps the one before
    0 x x x x x x x 0                      . . . . . . .

An image is copied into a scratch with a border, where it needs one. All sizes are known at run time
only, by a `Plan`; what is compiled into the body is the tile. `direct` makes the plans.
"""

from typing import NamedTuple

from . import borders
from .views import View, ceil_divide


class Plan(NamedTuple):
    """The numbers of a correlation.

    y[first + step · (i, j)] = bias + Σ x[stride · (i, j) + dilation · tap − before] · w[tap]
    """

    images: int
    height: int  # of x
    width: int  # of x
    channels: int  # of x
    taps_h: int
    taps_w: int
    depth: int  # inputs of a group, in w
    w_channels: int  # outputs in w, each group's padded to whole vectors
    y_height: int
    y_width: int
    y_channels: int
    out_h: int  # rows of y that are computed
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    before_h: int
    before_w: int
    first_h: int
    first_w: int
    step_h: int
    step_w: int
    # groups, as the tiles see them: of small ones, a vector holds several
    groups: int
    group_inputs: int
    group_outputs: int
    # where x is read
    wide: int  # columns of an image's copy
    reach: int  # copied if fewer numbers come after it
    line: int  # where in the scratch a row of y is made that goes past the caches
    # how tiles lie: along a row of one image, or at the same pixel of several images
    at_once: int  # images of a tile
    places: int  # tiles, or rows of tiles, in a row of y
    pixels: int  # of a row of tiles
    pixel_x: int  # from one pixel of a tile to the next, in x
    pixel_y: int  # and in y
    left: int  # columns that x is read before the image
    right: int  # columns of x that there are
    joined: int  # 1 if the taps of a row are one run of memory


def straight(e, plan, memory, place, compute):
    """What a tile gives goes straight to its place in y. (The other way is `rare.streaming`.)"""
    compute(place)


def _meeting_taps(e, plan, image, w, i, j, taps):
    """The taps that pixel (i, j) of y meets: x (pixel, *taps), w (*taps, output), the taps' sizes.

    The axes `taps` are tap row, tap column and input, where the last two are one run of memory if
    `plan.joined`.
    """
    down = i * plan.stride_h - plan.before_h
    across = j * plan.stride_w - plan.left
    u, rows = borders.meeting(e, down, plan.dilation_h, plan.taps_h, plan.height)
    v, columns = borders.meeting(e, across, plan.dilation_w, plan.taps_w, plan.right)
    first = image[down + u * plan.dilation_h :, across + v * plan.dilation_w :]
    met = first[:: plan.dilation_h, :: plan.dilation_w * taps]
    joined = e.lt(0, plan.joined)
    sizes = (
        rows,
        e.select(joined, 1, columns // taps),
        e.select(joined, columns * plan.channels, plan.depth),
    )
    return View(met.place, plan.pixel_x, *met.steps), w[u:, v::taps], sizes


def correlate(tile, taps=1, copy=borders.bordered, write=straight):
    """The body with that tile, which does so many `taps` of a row in a step.

    `tile` is a `tiles.tiled_product`; `copy` makes the copy of an image, and `write` says where the
    tile writes. In w and bias the outputs of each group are padded to whole vectors.
    """

    def body(e, x, w, bias, y, memory, plan):
        x = View.of(x, plan.images, plan.height, plan.width, plan.channels)
        w = View.of(w, plan.taps_h, plan.taps_w, plan.depth, plan.w_channels)
        y = View.of(y, plan.images, plan.y_height, plan.y_width, plan.y_channels)
        y = y[:, plan.first_h :: plan.step_h, plan.first_w :: plan.step_w]
        x_size = plan.height, plan.width, plan.channels
        frame = borders.Frame(*x_size, 0, plan.before_w, plan.height, plan.wide)
        w_outputs = plan.w_channels // plan.groups

        @e.loop(ceil_divide(plan.images, plan.at_once))
        def images(k):
            n = e.min(k * plan.at_once, plan.images - plan.at_once)
            after = (plan.images - 1 - n) * x.steps[0]
            image = borders.readable(e, x.at(n), after, plan.reach, memory, frame, copy)

            @e.loop(plan.out_h, plan.places)
            def place(i, j):
                x_taps, w_taps, sizes = _meeting_taps(e, plan, image, w, i, j, taps)

                def compute(to):
                    @e.loop(plan.groups)
                    def group(g):
                        output = g * plan.group_outputs
                        tile(
                            e,
                            x_taps[..., g * plan.group_inputs :],
                            w_taps[..., g * w_outputs :],
                            View(bias + g * w_outputs, 1),
                            View(to + output, plan.pixel_y, 1),
                            plan.pixels,
                            sizes,
                            e.min(plan.group_outputs, plan.y_channels - output),
                        )

                write(e, plan, memory, y.at(n, i, j), compute)

    return body
