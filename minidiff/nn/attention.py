"""Attention as layers: of pixels, and of positions in sequences."""

from typing import Any

from .. import checks, ops
from ..autograd.tensor import Tensor
from .convolution import Conv2d
from .layers import Dense, Seed
from .module import Module


def _check_heads(channels: Any, heads: Any) -> None:
    checks.whole("heads", heads, 1)
    checks.sizes(channels=channels)
    if channels % heads:
        raise ValueError(f"channels: given {channels}, wanted a multiple of the {heads} heads")


class Attention(Module):
    """Every pixel looks at every pixel, in `heads` independent ways; the result is added to x.

    Queries, keys and values come from one 3×3 convolution without bias, the output passes another
    with bias. x is (batch, height, width, channels). Raises ValueError if `heads` does not divide
    the channels. Source: Vaswani et al. 2017, arXiv 1706.03762.
    """

    def __init__(self, channels: int, rng: Seed = None, heads: int = 4):
        rng = checks.generator("rng", rng)
        _check_heads(channels, heads)
        self.heads = heads
        self.qkv = Conv2d(channels, 3 * channels, 3, rng, bias=False)
        self.out = Conv2d(channels, channels, 3, rng)

    def __call__(self, x: Tensor) -> Tensor:
        if len(x.shape) != 4:
            raise ValueError(
                f"x: given shape {tuple(x.shape)}, wanted (batch, height, width, channels)"
            )
        b, h, w, c = x.shape
        qkv = ops.reshape(self.qkv(x), shape=(b, h * w, 3 * c))
        return x + self.out(ops.reshape(ops.self_attention(qkv, self.heads), shape=x.shape))


class MultiheadAttention(Module):
    """Every position of a sequence looks at every position of another, in `heads` ways.

    `query` is (batch, n, channels), `key` and `value` (batch, m, channels); without a key it is
    the query, and without a value it is the key. Each passes a Dense layer, and so does what comes
    out, (batch, n, channels). `attn_mask` is broadcast to (batch, heads, n, m), and True says that
    a position may look there (in PyTorch's layer it says the opposite); see `ops.attention` for it
    and for `is_causal`. Raises ValueError if `heads` does not divide the channels. Source: Vaswani
    et al. 2017, arXiv 1706.03762, section 3.2.2.
    """

    def __init__(self, channels: int, heads: int, rng: Seed = None, bias: bool = True):
        rng = checks.generator("rng", rng)
        _check_heads(channels, heads)
        self.heads = heads
        self.query = Dense(channels, channels, rng, bias)
        self.key = Dense(channels, channels, rng, bias)
        self.value = Dense(channels, channels, rng, bias)
        self.out = Dense(channels, channels, rng, bias)

    def __call__(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        attn_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        key = query if key is None else key
        value = key if value is None else value
        q = self._of_each_head(self.query(query))
        k = self._of_each_head(self.key(key))
        v = self._of_each_head(self.value(value))
        seen = ops.attention(q, k, v, attn_mask, is_causal)
        return self.out(ops.reshape(ops.swapaxes(seen, axis1=1, axis2=2), shape=query.shape))

    def _of_each_head(self, x: Tensor) -> Tensor:
        """(batch, n, channels) as (batch, heads, n, channels / heads)."""
        if len(x.shape) != 3:
            raise ValueError(f"x: given shape {x.shape}, wanted (batch, positions, channels)")
        batch, n, channels = x.shape
        parts = ops.reshape(x, shape=(batch, n, self.heads, channels // self.heads))
        return ops.swapaxes(parts, axis1=1, axis2=2)
