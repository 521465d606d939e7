"""Where the taps of a window meet an image: what convolution and pooling share."""

from collections.abc import Iterator
from itertools import product


def conv_size(size, kernel, stride, padding, dilation):
    """Height and width of y: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes])


def check_window(size, x_size) -> None:
    """ValueError for a window larger than the image: it would be gone through tap by tap."""
    if any(k > n for k, n in zip(size, x_size)):
        raise ValueError(f"size: given {size}, wanted a window that fits in {tuple(x_size)}")


def taps(kernel, size, stride, dilation) -> Iterator[tuple]:
    """Each tap (i, j), with the rows and columns of the bordered input that it meets, as slices."""
    high, wide = (max((n - 1) * s + 1, 0) for n, s in zip(size, stride, strict=True))
    for i, j in product(range(kernel[0]), range(kernel[1])):
        top = i * dilation[0]
        left = j * dilation[1]
        yield i, j, slice(top, top + high, stride[0]), slice(left, left + wide, stride[1])


def check_convolution(images, filters, stride, dilation, groups):
    """ValueError unless these can be a convolution's: NumPy would make something of them."""
    steps = (*stride, *dilation)
    if images.ndim != 4 or filters.ndim != 4 or min(*steps, groups) < 1:
        raise ValueError(
            f"convolution: given arrays of shapes {tuple(images.shape)} and "
            f"{tuple(filters.shape)}, stride {stride}, dilation {dilation} and {groups} groups, "
            "wanted four axes each, and the rest at least 1"
        )
