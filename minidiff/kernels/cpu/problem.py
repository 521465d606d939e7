"""`Problem`: the shapes and settings of a convolution, by which a way to compute it is chosen."""

from typing import NamedTuple

from ..generic import conv_size

Pair = tuple[int, int]


class Problem(NamedTuple):
    """The shapes and settings of a convolution, in groups of channels.

    y[i, j] = Σ over taps of x[stride · (i, j) + dilation · tap − padding] @ w[tap]
    """

    images: int
    size: Pair  # height and width of x
    inputs: int  # channels of x, of all groups
    outputs: int  # channels of y, of all groups
    kernel: Pair
    stride: Pair
    padding: Pair  # negative where x is cut off
    dilation: Pair
    groups: int
    out: Pair  # height and width of y

    @classmethod
    def of(cls, x_shape, kernel, outputs, stride, padding, dilation, groups, out=None) -> "Problem":
        """The problem of these shapes.

        A gradient tells `out`: it may be smaller than what the convolution of x would give, as a
        transposed convolution with an `output_padding` makes x larger.
        """
        images, height, width, inputs = x_shape
        size = (height, width)
        most = (0, 0)
        if min(*kernel, *stride, *dilation) > 0:
            most = conv_size(size, kernel, stride, padding, dilation)
        out = most if out is None else out
        if out[0] > most[0] or out[1] > most[1]:  # a compiled loop would go on beyond the arrays
            raise ValueError(
                f"y: given height and width {out}, wanted at most {most}, which kernel {kernel}, "
                f"stride {stride}, padding {padding} and dilation {dilation} make of {size}"
            )
        return cls(images, size, inputs, outputs, kernel, stride, padding, dilation, groups, out)

    def transposed(self) -> "Problem":
        """The input gradient for stride 1: g convolved with the weights turned around."""
        padding = (
            self.dilation[0] * (self.kernel[0] - 1) - self.padding[0],
            self.dilation[1] * (self.kernel[1] - 1) - self.padding[1],
        )
        return self._replace(
            size=self.out,
            out=self.size,
            inputs=self.outputs,
            outputs=self.inputs,
            padding=padding,
        )
