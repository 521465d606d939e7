"""Direct weight and bias gradients on register tiles, of convolutions and dense layers.

x, each pixel moved by the tap        g
┌───────────┐                         ┌───────────┐
│ inputs    │  →→→ all pixels →→→     │ outputs   │      dw[tap] += inputs ⊗ outputs, sums in registers
└───────────┘                         └───────────┘      db      += outputs
"""

import sys
from functools import cache

import numpy as np

from . import small_groups, tiles
from .borders import meeting, own_or_copied
from .compiled import compiled_body, images, integers, numbers, scratch
from .direct import turned
from .vector import lanes, registers


def _weight_gradient(taps, rows_of_taps):
    """dw[row of taps, tap and input, group, output] += Σ over output pixels of x · g, and db += Σ
    g.

    Inputs and outputs are padded to whole tiles: what lies beyond is written and means nothing;
    tiles read up to `beyond` numbers from their first on. The other arguments are explained in
    `weight_and_bias_gradient`.
    """

    def body(e, g, x, dw, db, bordering, widening, given):
        (
            count,
            out_h,
            out_w,
            c_out,
            height,
            width,
            c_in,
            rows,
            inputs,
            groups,
            padded,
            depth,
            outputs,
            beyond,
            reach,
            per_row,
            top,
            left,
            high,
            wide,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            before_h,
            before_w,
        ) = (e.integer(given + k) for k in range(26))
        image, g_image = height * width * c_in, out_h * out_w * c_out

        @e.loop(count)
        def _(n):
            of_x = x + n * image, (count - 1 - n) * image, reach, bordering, height, width, c_in
            of_g = g + n * g_image, (count - 1 - n) * g_image, beyond, widening, out_h, out_w, c_out
            source, pitch = own_or_copied(e, *of_x, top, left, high, wide, 1)
            gradient, pitch = own_or_copied(e, *of_g, 0, 0, out_h, out_w, 1)[0], pitch * c_in

            tiles.column_sums(
                e, gradient, db, out_h * out_w, c_out, (c_out + (e.lanes - 1)) // e.lanes
            )

            @e.loop(rows // rows_of_taps)
            def _(part):
                k = part * rows_of_taps
                down = k // per_row * dilation_h + top - before_h
                across = k % per_row * dilation_w + left - before_w
                i, i_end = meeting(e, down, stride_h, out_h, high)
                j, j_end = meeting(e, across, stride_w, out_w, wide)
                here = source + (down + i * stride_h) * pitch + (across + j * stride_w) * c_in
                from_g = gradient + (i * out_w + j) * c_out

                @e.loop(groups)
                def _(group):
                    taps(
                        e,
                        here + group * depth,
                        from_g + group * outputs,
                        dw + (k * inputs * groups + group) * padded,
                        inputs,
                        e.smaller(outputs, c_out - group * outputs),
                        i_end - i,
                        j_end - j,
                        stride_h * pitch,
                        stride_w * c_in,
                        out_w * c_out,
                        c_out,
                        groups * padded,
                        dilation_w * c_in,
                        dilation_h * pitch,
                    )

    return body


@cache
def _kernel(width: int, half: bool, inputs: int, tile: tuple, group: tuple):
    """`inputs` of a tile; or the `tile` of taps, and what else `small_groups.taps` needs, or ()."""
    some = (
        small_groups.taps(tile, *group)
        if group
        else tiles.taps({**tiles.INPUTS[registers(width)], 1: inputs}, half)
    )
    name = f"weight_gradient_{inputs}" + f"_groups{tile}{group}" * bool(group) + "_half" * half
    types = images, images, images, numbers, numbers, numbers, integers
    return compiled_body(_weight_gradient(some, tile[0]), types, width, name)


# --- the wrappers ---


def weight_and_bias_gradient(g, x, kernel, stride, padding, dilation, groups=1):
    """(dw, db)."""
    width, (taps_h, taps_w), c_in, c_out = (
        lanes(),
        kernel,
        x.shape[3] // groups,
        g.shape[3] // groups,
    )
    if c_out < min(c_in, width) and stride == dilation == (1, 1) and kernel != (1, 1):
        # Few outputs: with x and g in each other's place the vectors are full, and the taps come
        # out flipped.
        before = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        flipped, _ = weight_and_bias_gradient(x, g, kernel, stride, before, dilation, groups)
        return np.ascontiguousarray(turned(flipped[::-1, ::-1], groups)), bias_gradient(g)
    total, padded = c_out * groups, -(-c_out // width) * width
    group, groups, size, beyond = small_groups.bundled(c_in, c_out, groups, width, stride, dilation)
    half = not group and tiles.leaves_half(c_out, width)
    single = c_out <= width + half * width // 2  # there is one whole vector, or none
    if group:
        tile, some, joined = small_groups.tile_of_taps(kernel, c_in, g.shape[2], width), 1, True
    else:
        tile, some = (1, 0, 0, 0), tiles.INPUTS[registers(width)][1 if single else 2]
        # The taps of a row as one, where that wastes less than it adds in columns of zeros.
        joined = dilation[1] == groups == 1 and c_in % some > 0
    rows, inputs = (taps_h, taps_w * c_in) if joined else (taps_h * taps_w, c_in)
    some = min(some, inputs) if single else some
    dw = np.zeros((rows, -(-inputs // some) * some, groups, padded), np.float32)
    db = np.zeros(-(-total // width) * width, np.float32)
    whole = dw.shape == (rows, inputs, groups, size[1]) and groups * size[1] == total
    # whole vectors, and all inputs of a tile
    beyond = beyond or (0 if whole else max(padded, dw.shape[1]))
    # what is not used need not be compiled anew
    of_one = some if single or half else tiles.INPUTS[registers(width)][1]
    per_row = len(dw) // taps_h  # 1: a row of dw holds a whole row of taps; else one tap
    # The border that is copied: none where a tap's pixels can be chosen.
    top, left, (high, wide) = 0, 0, x.shape[1:3]
    if tile[0] > 1:
        top, high = padding[0], (g.shape[1] - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    if per_row == 1:
        left, wide = padding[1], (g.shape[2] - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    border = top != 0 or left != 0 or high > x.shape[1] or wide > x.shape[2]
    end = high * wide * x.shape[3] + beyond
    memory = scratch(end + g[0].size + beyond)
    if border or beyond > 0:
        memory[: end + g[0].size + beyond] = 0
    sizes = *g.shape, *x.shape[1:], *dw.shape, *size, beyond, sys.maxsize if border else beyond
    how = per_row, top, left, high, wide, *stride, *dilation, *padding
    _kernel(width, half, of_one, tile, group)(
        g, x, dw, db, memory[:end], memory[end:], np.array((*sizes, *how))
    )
    if not whole:
        dw = np.ascontiguousarray(
            dw[:, :inputs, :, : size[1]].reshape(rows, inputs, -1)[..., :total]
        )
    return dw.reshape(*kernel, c_in, total), db[:total]


def bias_gradient(g):
    """Σ over pixels, 64 sums side by side for each channel: NumPy is slow where rows are short."""
    rows = g.reshape(-1, g.shape[3])
    end = len(rows) // 64 * 64
    return rows[:end].reshape(-1, 64 * g.shape[3]).sum(0).reshape(64, -1).sum(0) + rows[end:].sum(0)
