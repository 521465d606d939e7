"""How a UNet halves images whose sizes are odd: it adds a row or column, and takes it off again.

The row of zeros is what a convolution sees beyond the border anyway.
"""

from .. import ops
from ..autograd.tensor import Tensor


def made_even(h: Tensor) -> Tensor:
    """Images (batch, height, width, channels) with a last row or column of zeros where it is odd.

    So a convolution of stride 2 gives half of the size, rounded up.
    """
    odd_rows = h.shape[1] % 2
    odd_columns = h.shape[2] % 2
    if not odd_rows and not odd_columns:
        return h
    return ops.pad(h, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0)))


def cut_to(h: Tensor, other: Tensor) -> Tensor:
    """Images that were enlarged to an even size, without what the other, smaller ones have not."""
    if h.shape[1:3] == other.shape[1:3]:
        return h
    return h[:, : other.shape[1], : other.shape[2]]
