"""Calls that are drawn: of kernels and public operations, in shapes and layouts of all kinds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 48)


class Draw:
    """Random arguments; `hostile` ones may be float64 beside float32, or in another byte order."""

    def __init__(self, *seed: int, hostile: bool = False):
        self.rng = np.random.default_rng(seed)
        self.hostile = hostile

    def one_of(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.whole(low, high), self.whole(low, high)

    def floats(self, *shape: int) -> np.ndarray:
        """Normal float32 in some layout."""
        dtype = self.one_of(*[np.float32] * 19, np.float64) if self.hostile else np.float32
        return self.laid_out(np.asarray(self.rng.standard_normal(shape), dtype))

    def ids(self, rows: int, *shape: int) -> np.ndarray:
        return self.laid_out(self.rng.integers(0, rows, shape))

    def laid_out(self, array: np.ndarray) -> np.ndarray:
        kind = self.whole(0, 11) if array.ndim else -1
        if kind == 0:
            return np.asfortranarray(array)
        if kind == 1:
            return np.ascontiguousarray(array[::-1])[::-1]
        if kind == 2:
            spaced = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            spaced[..., ::2] = array
            return spaced[..., ::2]
        if kind == 3:
            array.flags.writeable = False
        if kind == 4:  # not aligned
            raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
            held = raw.view(array.dtype).reshape(array.shape)
            held[...] = array
            return held
        if kind == 5 and self.hostile:
            return array.astype(array.dtype.newbyteorder())
        if kind == 6 and array.size:
            return np.broadcast_to(array.reshape(-1)[0], array.shape)
        return array


def convolution(draw: Draw) -> Iterator[tuple]:
    """(kernel, arguments) of all corners of one convolution."""
    groups = draw.one_of(1, 1, 1, 2, 3, 4, 8)
    inputs = draw.one_of(*CHANNELS) if groups == 1 else draw.one_of(1, 2, 3, 4, 8)
    outputs = draw.one_of(*CHANNELS) if groups == 1 else draw.one_of(1, 2, 3, 4, 8)
    kernel = draw.one_of((1, 1), (3, 3), (3, 3), draw.pair(1, 5))
    stride = draw.one_of((1, 1), (1, 1), (2, 2), draw.pair(1, 3))
    dilation = draw.one_of((1, 1), (1, 1), (1, 1), draw.pair(1, 3))
    padding = draw.one_of((0, 0), (1, 1), draw.pair(0, 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = [max(1, r - 2 * p) + draw.whole(0, 9) for r, p in zip(reach, padding)]
    x = draw.floats(draw.whole(1, 3), *size, inputs * groups)
    w = draw.floats(*kernel, inputs, outputs * groups)
    b = draw.floats(outputs * groups)
    out = [(n + 2 * p - r) // s + 1 for n, p, r, s in zip(size, padding, reach, stride)]
    g = draw.floats(len(x), *out, outputs * groups)
    settings = stride, padding, dilation, groups
    yield "conv2d", (x, w, *settings)
    yield "conv2d_bias", (x, w, b, *settings)
    yield "conv2d_dx", (g, w, tuple(size), *settings)
    yield "conv2d_dw", (g, x, kernel, *settings)
    yield "conv2d_dw_db", (g, x, kernel, *settings)


def dense(draw: Draw) -> Iterator[tuple]:
    inputs = draw.one_of(*CHANNELS, 128)
    outputs = draw.one_of(*CHANNELS, 128)
    rows = draw.one_of((draw.whole(1, 9),), (2, draw.whole(1, 300)), (draw.whole(1, 3000),))
    x = draw.floats(*rows, inputs)
    yield "dense", (x, draw.floats(inputs, outputs), draw.floats(outputs))
    yield "dense_dw_db", (draw.floats(*rows, outputs), x)


def conditioned_dense(draw: Draw) -> Iterator[tuple]:
    batch, inputs, dim = (draw.whole(1, 40) for _ in range(3))
    out = draw.one_of(*CHANNELS)
    rows = draw.whole(1, 5)
    x = draw.floats(batch, inputs)
    e = draw.floats(batch, dim)
    w = draw.floats(inputs, out)
    v = draw.floats(dim, out)
    b = draw.floats(out)
    c = draw.floats(out)
    table = draw.floats(rows, out)
    ids = draw.ids(rows, batch)
    yield "conditioned_dense", (x, w, b, e, v, c, table, ids)
    g = draw.floats(batch, out)
    z = np.array(draw.floats(batch, out), order="C")
    yield "conditioned_dense_grads", (g, x, w, e, v, z, ids, rows, [True] * 8)


def norm(draw: Draw) -> Iterator[tuple]:
    groups = draw.one_of(1, 2, 4, 8)
    shape = [draw.whole(1, 3), *draw.one_of((), (5,), draw.pair(1, 9))]
    channels = groups * draw.whole(1, 9)
    x = draw.floats(*shape, channels)
    g = draw.floats(*shape, channels)
    weight = draw.floats(channels)
    bias = draw.floats(channels)
    scale = draw.one_of(None, draw.floats(len(x), channels))
    shift = draw.one_of(None, draw.floats(len(x), channels))
    skip = draw.one_of(None, draw.floats(*x.shape))
    yield "group_norm_silu", (x, weight, bias, scale, shift, skip, groups, 1e-5)
    aux = tuple(np.abs(draw.floats(len(x), 1, groups, 1)) for _ in range(2))
    yield "group_norm_silu_grads", (g, x, weight, bias, scale, shift, aux, groups)


def attention(draw: Draw) -> Iterator[tuple]:
    heads = draw.whole(1, 4)
    depth = draw.whole(1, 20)
    shape = draw.whole(1, 3), draw.whole(1, 40)
    yield "self_attention", (draw.floats(*shape, 3 * heads * depth), heads)


def pointwise(draw: Draw) -> Iterator[tuple]:
    shape = [draw.whole(1, 9) for _ in range(draw.whole(0, 4))]
    x = draw.floats(*shape)
    g = draw.floats(*shape)
    yield "silu", (x,)
    yield "silu_dx", (g, x)
    yield "gelu", (x, "none")
    yield "gelu_dx", (g, x, "none")
    yield "blend", (x, g, 0.5, -2.0)
    if shape:
        column = draw.rng.standard_normal((shape[0], *[1] * (len(shape) - 1)))
        yield "blend", (x, g, column, 1 - column)
    state = [np.abs(draw.floats(*shape)) for _ in range(4)]
    yield "adam", (*state, 1e-3, 0.9, 0.999, 1e-8, 0.01, draw.whole(1, 9))
    yield "ema", (*state[:2], 0.9)


def embedding(draw: Draw) -> Iterator[tuple]:
    rows = draw.whole(1, 9)
    columns = draw.one_of(*CHANNELS)
    shape = [draw.whole(1, 9) for _ in range(draw.whole(1, 2))]
    ids = draw.ids(rows, *shape)
    yield "embedding", (draw.floats(rows, columns), ids)
    yield "embedding_dtable", (draw.floats(*shape, columns), ids, rows)


DRAWS = [convolution, dense, conditioned_dense, norm, attention, pointwise, embedding]


# --- public operations ---


def calls(draw: Draw) -> Iterator[tuple[str, list]]:
    """(public operation, arguments that fit it)"""
    for name, arguments in convolution(draw):
        if name != "conv2d_dw_db":
            yield name.removesuffix("_bias"), list(arguments)
            yield name.removesuffix("_bias"), list(arguments)
    x = draw.floats(2, draw.whole(1, 6), 5, 4)
    w = draw.floats(3, 2, 8, 4)
    yield "conv_transpose2d", [x, w, draw.floats(8), draw.whole(1, 3), 0, 0, 1, 1]
    for kind in dense, conditioned_dense, attention:
        name, arguments = next(kind(draw))
        yield name, list(arguments)
    for name, arguments in embedding(draw):
        yield name, list(arguments)
    _, (x, weight, bias, scale, shift, skip, groups, _) = next(norm(draw))
    yield "group_norm_silu", [x, groups, weight, bias, scale, shift, skip]
    yield "group_norm", [x, groups, weight, bias]
    image = draw.floats(2, 6, 6, draw.one_of(1, 3, 8))
    yield "max_pool2d", [image, 2, 2]
    yield "max_pool2d_dx", [image[:, ::2, ::2], draw.ids(4, 2, 3, 3, image.shape[3]), (6, 6), 2, 2]
    yield "windows", [image, (2, 2), (2, 2)]
    yield "upsample_nearest_dx", [image, 2]
    yield "silu", [image]
    yield "gelu", [image]
    yield "cross_entropy", [draw.floats(5, 4), draw.ids(4, 5)]
    yield "mse_loss", [image, draw.floats(*image.shape)]


def unfitting(draw: Draw, value: Any) -> Any:
    """Something else in its place."""
    if not isinstance(value, np.ndarray):
        numbers = 0, -1, 1, 2, 3, 5, 7, True, None, 1 << 40, 2.0, "same"
        return draw.one_of(*numbers, (0, 0), (1, 0), (2, 1), (-1, -1), (1, 2, 3), (9, 9))
    axis = draw.whole(0, max(0, value.ndim - 1))
    kind = draw.whole(0, 9)
    if kind == 0:
        return draw.one_of(*value) if len(value) else value  # one axis less
    if kind == 1:
        return value[None]
    if kind == 2:
        return value.T
    if kind == 3:
        return value.astype(draw.one_of(np.float64, np.int64, np.int8, np.uint64, np.bool_))
    if kind == 4:
        return np.delete(value, slice(0, 1), axis)
    if kind == 5:
        return np.concatenate([value, value], axis)
    if kind == 6:
        return np.take(value, [], axis)
    if kind == 7:
        return draw.rng.permutation(np.repeat(value, 2, axis), axis)[..., :1]
    if kind == 8:
        return np.broadcast_to(value.reshape(-1)[0], value.shape) if value.size else value
    return value - 9 if value.dtype.kind == "i" else value * 1e3
