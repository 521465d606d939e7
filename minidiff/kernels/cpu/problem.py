"""`Problem`: the shapes and settings of a convolution, by which a way to compute it is chosen."""

from typing import NamedTuple

from ..generic import conv_size

Pair = tuple[int, int]


class Problem(NamedTuple):
    """y[i, j] = Σ over taps of x[stride · (i, j) + dilation · tap − padding] @ w[tap], in groups."""

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
        out = conv_size(size, kernel, stride, padding, dilation) if out is None else out
        return cls(images, size, inputs, outputs, kernel, stride, padding, dilation, groups, out)

    def transposed(self) -> "Problem":
        """The convolution of g that gives dx, for stride 1: its weights are turned and flipped."""
        vertical, horizontal = (
            d * (k - 1) - p
            for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)
        )
        return self._replace(
            size=self.out,
            out=self.size,
            inputs=self.outputs,
            outputs=self.inputs,
            padding=(vertical, horizontal),
        )
