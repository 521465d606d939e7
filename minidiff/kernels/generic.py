"""Every kernel once, in plain array code: to read, and to hold the Numba kernels against.

CuPy runs these, and so does NumPy where no faster kernel fits. Only functions of the arrays' own
namespace are called: any library that has NumPy's names will do. Images are (batch, height, width,
channels), weights (kh, kw, in, out); `stride`, `padding` and `dilation` are (rows, columns).
"""

import math
from itertools import accumulate

from . import backend_of, namespace
from .activations import gelu, gelu_dx, sigmoid, silu, silu_dx, softplus  # noqa: F401
from .normalisation import (  # noqa: F401
    group_norm,
    group_norm_grads,
    group_norm_silu,
    group_norm_silu_grads,
    group_norm_silu_tangent,
    group_norm_tangent,
)
from .sums import dtype_of_sums, largest, scatter_add, total
from .tails import erf, erfc, inverse_mills, log_ndtr  # noqa: F401
from .taps import check_convolution, check_window, conv_size, taps
from .updates import adam, clip_norm, ema, ema_all, flattened  # noqa: F401


# --- convolution: corners of one trilinear form  Σ g[n,i,j,o] · x[n,s·i+u,s·j+v,c] · w[u,v,c,o] ---
def _by_groups(kernel, a, b, groups, *sizes):
    """The kernel's results for each group of channels of a and b, joined."""
    xp = namespace(a)
    pairs = zip(xp.split(a, groups, -1), xp.split(b, groups, -1), strict=True)
    return xp.concatenate([kernel(*pair, *sizes, 1) for pair in pairs], -1)


def conv2d(x, w, stride, padding, dilation, groups):
    """y = x ⋆ w: a convolution is a sum over taps of shifted slices @ weights."""
    check_convolution(x, w, stride, dilation, groups)
    if groups > 1:
        return _by_groups(conv2d, x, w, groups, stride, padding, dilation)
    size = conv_size(x.shape[1:3], w.shape[:2], stride, padding, dilation)
    x = pad(x, [(0, 0), *zip(padding, padding), (0, 0)], 0)
    y = namespace(x).zeros((x.shape[0], *size, w.shape[3]), x.dtype)
    for i, j, rows, columns in taps(w.shape[:2], size, stride, dilation):
        y += namespace(x).matmul(x[:, rows, columns], w[i, j])
    return y


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    """The gradient for x, of height and width `x_size`: the transposed convolution of g."""
    check_convolution(g, w, stride, dilation, groups)
    if groups > 1:
        return _by_groups(conv2d_dx, g, w, groups, x_size, stride, padding, dilation)
    xp = namespace(g)
    high, wide = x_size
    top, left = padding
    dx = xp.zeros((g.shape[0], high + 2 * top, wide + 2 * left, w.shape[2]), g.dtype)
    for i, j, rows, columns in taps(w.shape[:2], g.shape[1:3], stride, dilation):
        dx[:, rows, columns] += xp.matmul(g, xp.transpose(w[i, j]))
    return dx[:, top : top + high, left : left + wide]


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    """The gradient for w; `kernel` is its height and width."""
    check_convolution(g, x, stride, dilation, groups)
    if groups > 1:
        return _by_groups(conv2d_dw, g, x, groups, kernel, stride, padding, dilation)
    x = pad(x, [(0, 0), *zip(padding, padding), (0, 0)], 0)
    dw = namespace(g).zeros((*kernel, x.shape[3], g.shape[3]), g.dtype)
    for i, j, rows, columns in taps(kernel, g.shape[1:3], stride, dilation):
        dw[i, j] = namespace(g).tensordot(x[:, rows, columns], g, ((0, 1, 2), (0, 1, 2)))
    return dw


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    return conv2d(x, w, stride, padding, dilation, groups) + b


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    """Both gradients (dw, db) of a convolution with bias."""
    dw = conv2d_dw(g, x, kernel, stride, padding, dilation, groups)
    return dw, total(g, (0, 1, 2))


# --- dense, embedding ---
def dense(x, w, b):
    """x (…, in) @ w (in, out) + b."""
    return namespace(x).matmul(x, w) + b


def dense_dx(g, w):
    return g @ w.mT


def dense_dw_db(g, x):
    """Both gradients (dw, db) of `dense`: all leading axes are one batch."""
    rows = math.prod(x.shape[:-1])  # -1 would be any number where there are no channels
    x = x.reshape((rows, x.shape[-1]))
    g = g.reshape((rows, g.shape[-1]))
    return x.mT @ g, total(g, 0)


def conditioned_dense(x, w, b, e, v, c, table, ids):
    """(silu(z), aux = z) of z = x @ w + b + e @ v + c + table[ids]; looks at ids on the host."""
    if backend_of(ids).device == "cpu" and ((ids < 0) | (ids >= len(table))).any():
        raise IndexError(f"ids: given {ids.min()} … {ids.max()}, wanted rows below {len(table)}")
    z = namespace(x).matmul(x, w) + namespace(x).matmul(e, v) + (b + c) + table[ids]
    return silu(z), z


def conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs):
    """(dx, dw, db, de, dv, dc, dtable); dx and de, where they are needed."""
    dz = silu_dx(g, z)
    db = total(dz, 0)
    dx = dz @ w.mT if needs[0] else None
    de = dz @ v.mT if needs[3] else None
    return dx, x.mT @ dz, db, de, e.mT @ dz, db, embedding_dtable(dz, ids, rows)


def embedding(table, ids):
    """Rows of the table: ids.shape + (d,)."""
    return table[ids]


def embedding_dtable(g, ids, rows):
    """Row i of the gradient is the sum of g over all places that asked for row i."""
    g = g.astype(dtype_of_sums(g.dtype), copy=False)
    return scatter_add(g, ids, (rows, g.shape[-1]))


# --- pooling and resampling ---
def windows(x, size, stride):
    """A pooling's windows, (kh·kw, b, h′, w′, c): one slice for each place in a window."""
    check_window(size, x.shape[1:3])
    places = taps(size, conv_size(x.shape[1:3], size, stride, (0, 0), (1, 1)), stride, (1, 1))
    return namespace(x).stack([x[:, rows, columns] for _, _, rows, columns in places])


def windows_dx(g, x_size, size, stride):
    """Each pixel's sum over the windows it was in."""
    dx = namespace(g).zeros((g.shape[1], *x_size, g.shape[4]), dtype_of_sums(g.dtype))
    check_window(size, x_size)
    places = taps(size, g.shape[2:4], stride, (1, 1))
    for part, (_, _, rows, columns) in zip(g, places, strict=True):
        dx[:, rows, columns] += part
    return dx


def max_pool2d(x, size, stride):
    """The largest value of each window, and which one it was (the first of equals): (y, aux)."""
    parts = windows(x, (size, size), (stride, stride))
    return namespace(x).max(parts, 0), namespace(x).argmax(parts, 0)


def max_pool2d_dx(g, index, x_size, size, stride):
    """Each gradient goes to the place that its maximum came from."""
    xp = namespace(g)
    check_window((size, size), x_size)
    parts = xp.stack([xp.where(index == k, g, 0) for k in range(size * size)])
    return windows_dx(parts, x_size, (size, size), (stride, stride))


def upsample_nearest(x, scale):
    return namespace(x).repeat(namespace(x).repeat(x, scale, 1), scale, 2)


def upsample_nearest_dx(g, scale):
    """The sum over each block, one term at a time: NumPy is slow over two short axes."""
    b, h, w, c = g.shape
    g = g.astype(dtype_of_sums(g.dtype), copy=False)
    parts = reshape(g, (b, h // scale, scale, w // scale, scale, c))
    return sum(parts[:, :, i, :, j] for i in range(scale) for j in range(scale))


# --- softmax, attention, losses ---
def logsumexp(x, axis, keepdims):
    xp = namespace(x)
    top = largest(x, axis)
    top = xp.where(xp.isfinite(top), top, 0)
    sums = total(xp.exp(x - top), axis, keepdims)
    logs = xp.log(xp.where(sums == 0, 1, sums)) + xp.reshape(top, sums.shape)
    return xp.where(sums == 0, -math.inf, logs)


def softmax(x, axis):
    e = namespace(x).exp(x - largest(x, axis))
    return e / total(e, axis, keepdims=True)


def log_softmax(x, axis):
    x = x - largest(x, axis)
    return x - logsumexp(x, axis, keepdims=True)


def _heads(x, parts, heads):
    """(batch, n, parts · channels) as (parts, batch, heads, n, channels / heads)."""
    b, n, c = x.shape
    split = reshape(x, (b, n, parts, heads, c // parts // heads))
    return namespace(x).transpose(split, (2, 0, 3, 1, 4))


def _unheads(parts):
    p, b, heads, n, d = parts.shape
    return reshape(namespace(parts).transpose(parts, (1, 3, 0, 2, 4)), (b, n, p * heads * d))


def self_attention(qkv, heads):
    """(softmax(q kᵀ / √d) v of each head, aux = the probabilities) (Vaswani et al. 2017, eq. 1)."""
    xp = namespace(qkv)
    q, k, v = _heads(qkv, 3, heads)
    p = softmax(xp.matmul(q, xp.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5, -1)
    return _unheads(xp.matmul(p, v)[None]), p


def self_attention_dqkv(g, qkv, aux, heads):
    xp = namespace(qkv)
    q, k, v = _heads(qkv, 3, heads)
    (g,) = _heads(g, 1, heads)
    dp = xp.matmul(g, xp.swapaxes(v, -1, -2))
    ds = aux * (dp - xp.sum(dp * aux, -1, keepdims=True)) * q.shape[-1] ** -0.5
    dk = xp.matmul(xp.swapaxes(ds, -1, -2), q)
    dv = xp.matmul(xp.swapaxes(aux, -1, -2), g)
    return _unheads(xp.stack([xp.matmul(ds, k), dk, dv]))


def self_attention_tangent(dqkv, qkv, aux, heads):
    """ṗ v + p v̇, where the softmax's tangent is ṗ = p·(ṡ − Σ p·ṡ), of scores s = q kᵀ / √d."""
    xp = namespace(qkv)
    q, k, v = _heads(qkv, 3, heads)
    dq, dk, dv = _heads(dqkv, 3, heads)
    ds = xp.matmul(dq, xp.swapaxes(k, -1, -2)) + xp.matmul(q, xp.swapaxes(dk, -1, -2))
    ds = ds * q.shape[-1] ** -0.5
    dp = aux * (ds - xp.sum(aux * ds, -1, keepdims=True))
    return _unheads((xp.matmul(dp, v) + xp.matmul(aux, dv))[None])


def cross_entropy(logits, labels):
    """(mean of −log p[label] over the rows of (n, classes), aux = the probabilities)."""
    xp = namespace(logits)
    logp = log_softmax(logits, -1)
    return -xp.mean(logp[xp.arange(len(labels)), labels]), xp.exp(logp)


def cross_entropy_dlogits(g, aux, labels):
    """g · (p − 1[label]) / n"""
    return (aux - (namespace(aux).arange(aux.shape[-1]) == labels[:, None])) * (g / len(labels))


def mse_loss(x, y):
    d = x - y
    return total(d * d) / d.size


def mse_loss_dx(g, x, y):
    return (x - y) * (g * (2 / max(x.size, 1)))


# --- pointwise ---
def where(condition, x, y):
    """The condition may be a number; of NumPy's name, CuPy's function takes an array only."""
    xp = namespace(next(part for part in (condition, x, y) if hasattr(part, "dtype")))
    return xp.where(xp.asarray(condition), x, y)


def relu(x):
    return namespace(x).maximum(x, 0)


def blend(x, y, a, b):
    return a * x + b * y


# --- shapes ---
def reshape(x, shape):
    return namespace(x).reshape(x, shape)


def concatenate(*xs, axis):
    """(the arrays joined, aux = where along the axis all but the first begin)"""
    return namespace(xs[0]).concatenate(xs, axis), list(accumulate(x.shape[axis] for x in xs))[:-1]


def pad(x, width, value):
    return namespace(x).pad(x, width, constant_values=value)


def einsum(x, y, terms):
    """`terms` has the letters of x, y and the output."""
    return namespace(x).einsum(f"{terms[0]},{terms[1]}->{terms[2]}", x, y, optimize=True)


def broadcast_to(x, shape):
    """An array of its own: NumPy's view is read-only, and for small arrays takes longer to make."""
    if x.ndim > len(shape):
        return namespace(x).broadcast_to(x, shape)  # an error
    out = namespace(x).empty(shape, x.dtype)
    out[...] = x
    return out


def sum_to(x, shape):
    """The sum over the axes along which `shape` was broadcast to the shape of x."""
    extra = x.ndim - len(shape)
    axes = tuple([i for i, n in enumerate(x.shape) if i < extra or shape[i - extra] != n])
    out = total(x, axes, keepdims=extra == 0)
    return out if out.shape == shape else reshape(out, shape)
