"""Every kernel once, in plain array code: to read, the fallback for any shape, what CuPy runs, the
Numba ones' oracle.

Functions of the arrays' own namespace are called, never array methods: any library that has NumPy's
names will do. Images are (batch, height, width, channels), weights (kh, kw, in, out); `stride`,
`padding`, `dilation` (rows, columns).
"""

import math
from itertools import accumulate

from . import namespace

Pair = tuple[int, int]


# --- convolution: the three corners of one trilinear form  Σ g[n,i,j,o] · x[n,s·i+u,s·j+v,c] · w[u,v,c,o] ---


def conv_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """Height and width that a convolution gives: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    each = zip(size, kernel, stride, padding, dilation, strict=True)
    h, w = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)
    return h, w


def _taps(kernel: Pair, size: Pair, stride: Pair, dilation: Pair):
    """For each tap (i, j) of the kernel: the rows and columns of the bordered input that it meets, as slices."""
    for i in range(kernel[0]):
        rows = slice(i * dilation[0], i * dilation[0] + (size[0] - 1) * stride[0] + 1, stride[0])
        for j in range(kernel[1]):
            columns = slice(
                j * dilation[1], j * dilation[1] + (size[1] - 1) * stride[1] + 1, stride[1]
            )
            yield i, j, rows, columns


def conv2d(x, w, stride, padding, dilation, groups):
    """y = x ⋆ w: a convolution is a sum over taps of shifted slices @ weights."""
    xp = namespace(x)
    if groups > 1:
        pairs = zip(xp.split(x, groups, -1), xp.split(w, groups, -1), strict=True)
        return xp.concatenate([conv2d(a, b, stride, padding, dilation, 1) for a, b in pairs], -1)
    size = conv_size(x.shape[1:3], w.shape[:2], stride, padding, dilation)
    x = pad(x, [(0, 0), *zip(padding, padding), (0, 0)], 0)
    y = xp.zeros((x.shape[0], *size, w.shape[3]), x.dtype)
    for i, j, rows, columns in _taps(w.shape[:2], size, stride, dilation):
        y += xp.matmul(x[:, rows, columns], w[i, j])
    return y


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    """The gradient for x, which is the transposed convolution of g; `x_size` is the height and width of x."""
    xp = namespace(g)
    if groups > 1:
        pairs = zip(xp.split(g, groups, -1), xp.split(w, groups, -1), strict=True)
        return xp.concatenate(
            [conv2d_dx(a, b, x_size, stride, padding, dilation, 1) for a, b in pairs], -1
        )
    (h, v), (ph, pv) = x_size, padding
    dx = xp.zeros((g.shape[0], h + 2 * ph, v + 2 * pv, w.shape[2]), g.dtype)
    for i, j, rows, columns in _taps(w.shape[:2], g.shape[1:3], stride, dilation):
        dx[:, rows, columns] += xp.matmul(g, xp.transpose(w[i, j]))
    return dx[:, ph : ph + h, pv : pv + v]


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    """The gradient for w; `kernel` is its height and width."""
    xp = namespace(g)
    if groups > 1:
        pairs = zip(xp.split(g, groups, -1), xp.split(x, groups, -1), strict=True)
        return xp.concatenate(
            [conv2d_dw(a, b, kernel, stride, padding, dilation, 1) for a, b in pairs], -1
        )
    x = pad(x, [(0, 0), *zip(padding, padding), (0, 0)], 0)
    dw = xp.zeros((*kernel, x.shape[3], g.shape[3]), g.dtype)
    for i, j, rows, columns in _taps(kernel, g.shape[1:3], stride, dilation):
        dw[i, j] = xp.tensordot(x[:, rows, columns], g, ((0, 1, 2), (0, 1, 2)))
    return dw


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    return conv2d(x, w, stride, padding, dilation, groups) + b


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    """Both gradients (dw, db) of a convolution with bias."""
    return conv2d_dw(g, x, kernel, stride, padding, dilation, groups), namespace(g).sum(
        g, (0, 1, 2)
    )


# --- dense, embedding ---


def dense(x, w, b):
    """x (…, in) @ w (in, out) + b."""
    return namespace(x).matmul(x, w) + b


def dense_dw_db(g, x):
    """Both gradients (dw, db) of `dense`: all leading axes are one batch."""
    xp, axes = namespace(g), tuple(range(g.ndim - 1))
    return xp.tensordot(x, g, (axes, axes)), xp.sum(g, axes)


def conditioned_dense(x, w, b, e, v, c, table, ids):
    """(silu(z), aux = z) of z = x @ w + b + e @ v + c + table[ids]."""
    z = namespace(x).matmul(x, w) + namespace(x).matmul(e, v) + (b + c) + table[ids]
    return silu(z), z


def conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs):
    """(dx, dw, db, de, dv, dc, dtable); dx and de, where they are needed."""
    dz = silu_dx(g, z)
    db, dx, de = (
        namespace(g).sum(dz, 0),
        dz @ w.mT if needs[0] else None,
        dz @ v.mT if needs[3] else None,
    )
    return dx, x.mT @ dz, db, de, e.mT @ dz, db, embedding_dtable(dz, ids, rows)


def embedding(table, ids):
    """Rows of the table: ids.shape + (d,)."""
    return table[ids]


def embedding_dtable(g, ids, rows):
    """Row i of the gradient is the sum of g over all places that asked for row i."""
    return scatter_add(g, ids, (rows, g.shape[-1]))


# --- pooling and resampling ---


def windows(x, size, stride):
    """The windows of a pooling, taken apart: (kh·kw, b, h′, w′, c), one slice for each place in a window."""
    taps = _taps(size, conv_size(x.shape[1:3], size, stride, (0, 0), (1, 1)), stride, (1, 1))
    return namespace(x).stack([x[:, rows, columns] for _, _, rows, columns in taps])


def windows_dx(g, x_size, size, stride):
    """Each pixel's sum over the windows it was in."""
    dx = namespace(g).zeros((g.shape[1], *x_size, g.shape[4]), g.dtype)
    for part, (_, _, rows, columns) in zip(
        g, _taps(size, g.shape[2:4], stride, (1, 1)), strict=True
    ):
        dx[:, rows, columns] += part
    return dx


def max_pool2d(x, size, stride):
    """The largest value of each window, and which one it was (the first of equals): (y, aux)."""
    parts = windows(x, (size, size), (stride, stride))
    return namespace(x).max(parts, 0), namespace(x).argmax(parts, 0)


def max_pool2d_dx(g, index, x_size, size, stride):
    """Each gradient goes to the place that its maximum came from."""
    parts = namespace(g).stack([namespace(g).where(index == k, g, 0) for k in range(size * size)])
    return windows_dx(parts, x_size, (size, size), (stride, stride))


def upsample_nearest(x, scale):
    return namespace(x).repeat(namespace(x).repeat(x, scale, 1), scale, 2)


def upsample_nearest_dx(g, scale):
    """Sum over each scale × scale block (one term at a time: NumPy's sum over two short axes is slow)."""
    b, h, w, c = g.shape
    parts = namespace(g).reshape(g, (b, h // scale, scale, w // scale, scale, c))
    return sum(parts[:, :, i, :, j] for i in range(scale) for j in range(scale))


# --- normalisation (Wu & He 2018) ---


def _grouped(x, groups):
    b, *size, c = x.shape
    return namespace(x).reshape(x, (b, math.prod(size), groups, c // groups))


def group_norm(x, weight, bias, groups, eps):
    """(y, aux): each image's channel groups with mean 0, variance 1; aux = (mean, 1/σ), each (b, 1, groups, 1)."""
    xp, parts = namespace(x), _grouped(x, groups)
    mean = xp.mean(parts, (1, 3), keepdims=True)
    centred = parts - mean
    rstd = 1 / xp.sqrt(xp.mean(centred * centred, (1, 3), keepdims=True) + eps)
    return xp.reshape(centred * rstd, x.shape) * weight + bias, (mean, rstd)


def group_norm_grads(g, x, weight, bias, aux, groups):
    """(dx, dweight, dbias). With x̂ the normalised input and h = g·weight: dx = (h − mean(h) − x̂·mean(h·x̂)) / σ."""
    xp, (mean, rstd) = namespace(x), aux
    normal = (_grouped(x, groups) - mean) * rstd
    h = _grouped(g * weight, groups)
    dx = rstd * (
        h - xp.mean(h, (1, 3), keepdims=True) - normal * xp.mean(h * normal, (1, 3), keepdims=True)
    )
    axes = tuple(range(x.ndim - 1))
    return xp.reshape(dx, x.shape), xp.sum(g * xp.reshape(normal, x.shape), axes), xp.sum(g, axes)


def _shifted(y, shift):
    return (
        y
        if shift is None
        else y + namespace(y).reshape(shift, (len(shift), *(1,) * (y.ndim - 2), shift.shape[1]))
    )


def group_norm_silu(x, weight, bias, shift, skip, groups, eps):
    """(y, aux): silu(group_norm(x) + shift) + skip; shift is (batch, channels) or None, skip like x or None."""
    y, aux = group_norm(x, weight, bias, groups, eps)
    return silu(_shifted(y, shift)) + (0 if skip is None else skip), aux


def group_norm_silu_grads(g, x, weight, bias, shift, aux, groups):
    """(dx, dweight, dbias, dshift); the normalised input is computed again rather than kept."""
    xp, (mean, rstd) = namespace(x), aux
    y = xp.reshape((_grouped(x, groups) - mean) * rstd, x.shape) * weight + bias
    g = silu_dx(g, _shifted(y, shift))
    dshift = None if shift is None else xp.sum(g, tuple(range(1, x.ndim - 1)))
    return *group_norm_grads(g, x, weight, bias, aux, groups), dshift


# --- softmax, attention, losses ---


def logsumexp(x, axis, keepdims):
    xp = namespace(x)
    top = xp.max(x, axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    total = xp.sum(xp.exp(x - top), axis, keepdims=keepdims)
    top, zero = xp.reshape(top, total.shape), total == 0
    return xp.where(zero, -math.inf, xp.log(xp.where(zero, 1, total)) + top)


def softmax(x, axis):
    xp = namespace(x)
    e = xp.exp(x - xp.max(x, axis, keepdims=True))
    return e / xp.sum(e, axis, keepdims=True)


def log_softmax(x, axis):
    xp = namespace(x)
    x = x - xp.max(x, axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis, keepdims=True))


def _heads(x, parts, heads):
    """(batch, n, parts · channels) as (parts, batch, heads, n, channels / heads)."""
    b, n, c = x.shape
    return namespace(x).transpose(
        namespace(x).reshape(x, (b, n, parts, heads, c // parts // heads)), (2, 0, 3, 1, 4)
    )


def _unheads(parts):
    xp, (p, b, heads, n, d) = namespace(parts), parts.shape
    return xp.reshape(xp.transpose(parts, (1, 3, 0, 2, 4)), (b, n, p * heads * d))


def self_attention(qkv, heads):
    """(softmax(q kᵀ / √d) v of each head, aux = the probabilities) (Vaswani et al. 2017, eq. 1)."""
    xp, (q, k, v) = namespace(qkv), _heads(qkv, 3, heads)
    p = softmax(xp.matmul(q, xp.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5, -1)
    return _unheads(xp.matmul(p, v)[None]), p


def self_attention_dqkv(g, qkv, aux, heads):
    xp, (q, k, v), g = namespace(qkv), _heads(qkv, 3, heads), _heads(g, 1, heads)[0]
    dp = xp.matmul(g, xp.swapaxes(v, -1, -2))
    ds = aux * (dp - xp.sum(dp * aux, -1, keepdims=True)) * q.shape[-1] ** -0.5
    parts = (
        xp.matmul(ds, k),
        xp.matmul(xp.swapaxes(ds, -1, -2), q),
        xp.matmul(xp.swapaxes(aux, -1, -2), g),
    )
    return _unheads(xp.stack(parts))


def cross_entropy(logits, labels):
    """(mean of −log p[label] over the rows of (n, classes), aux = the probabilities)."""
    xp = namespace(logits)
    logp = log_softmax(logits, -1)
    return -xp.mean(logp[xp.arange(len(labels)), labels]), xp.exp(logp)


def cross_entropy_dlogits(g, aux, labels):
    """g · (p − 1[label]) / n"""
    xp = namespace(aux)
    return (aux - (xp.arange(aux.shape[-1]) == labels[:, None])) * (g / len(labels))


def mse_loss(x, y):
    d = x - y
    return namespace(x).add.reduce(d * d, axis=None) / d.size


def mse_loss_dx(g, x, y):
    return (x - y) * (g * (2 / max(x.size, 1)))


# --- pointwise; optimisers, which write in place ---


def relu(x):
    return namespace(x).maximum(x, 0)


def sigmoid(x):
    """1 / (1 + e⁻ˣ), from e^(−|x|) so that nothing overflows."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    """log(1 + eˣ), without overflow."""
    xp = namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def silu(x):
    return x * sigmoid(x)


def silu_dx(g, x):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def erf(x):
    """2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)): all terms of one sign, so nothing cancels; |x| ≥ 6 is 1."""
    xp = namespace(x)
    x = xp.clip(x, -6, 6)
    term = total = x
    for n in range(1, 140):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return total * xp.exp(-x * x) * (2 / math.sqrt(math.pi))


# Hendrycks & Gimpel 2016: gelu ≈ x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³)))
_TANH = math.sqrt(2 / math.pi)


def gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + namespace(x).tanh(_TANH * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_dx(g, x, approximate):
    xp = namespace(x)
    if approximate == "tanh":
        t = xp.tanh(_TANH * (x + 0.044715 * x * x * x))
        return g * 0.5 * (1 + t + x * (1 - t * t) * (_TANH * (1 + 3 * 0.044715 * x * x)))
    return g * (
        0.5 * (1 + erf(x * math.sqrt(0.5)))
        + x * xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    )


def blend(x, y, a, b):
    return a * x + b * y


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    """Adam (Kingma & Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov & Hutter 2019); `step` is from 1."""
    m += (grad - m) * (1 - beta1)
    v += (grad * grad - v) * (1 - beta2)
    root = namespace(v).sqrt(v * (1 / (1 - beta2**step)))
    param -= lr * ((m * (1 / (1 - beta1**step))) / (root + eps) + weight_decay * param)


def ema(average, param, decay):
    """average ← decay·average + (1 − decay)·param"""
    average += (param - average) * (1 - decay)


# --- shapes ---


def reshape(x, shape):
    return namespace(x).reshape(x, shape)


def concatenate(*xs, axis):
    """(the arrays joined, aux = where along the axis all but the first begin)"""
    return namespace(xs[0]).concatenate(xs, axis), list(accumulate(x.shape[axis] for x in xs))[:-1]


def scatter_add(y, index, shape):
    """Zeros of that shape, with y added at the index; places named twice get both."""
    xp = namespace(y)
    out = xp.zeros(shape, y.dtype)
    basic = int | slice | type(None) | type(...)
    if all(isinstance(part, basic) for part in (index if isinstance(index, tuple) else (index,))):
        out[index] = y
    else:
        xp.add.at(out, index, y)
    return out


def pad(x, width, value):
    return namespace(x).pad(x, width, constant_values=value)


def einsum(x, y, terms):
    """`terms` has the letters of x, y and the output."""
    return namespace(x).einsum(f"{terms[0]},{terms[1]}->{terms[2]}", x, y, optimize=True)


def broadcast_to(x, shape):
    """An array of its own: NumPy's view, read-only and made in Python, takes longer as long as arrays are small."""
    xp = namespace(x)
    if x.ndim > len(shape):
        return xp.broadcast_to(x, shape)  # an error
    out = xp.empty(shape, x.dtype)
    out[...] = x
    return out


def sum_to(x, shape):
    """The sum over the axes along which `shape` was broadcast to the shape of x."""
    xp, extra = namespace(x), x.ndim - len(shape)
    axes = tuple([i for i, n in enumerate(x.shape) if i < extra or shape[i - extra] != n])
    total = xp.add.reduce(x, axis=axes, keepdims=extra == 0)
    return total if total.shape == shape else xp.reshape(total, shape)
