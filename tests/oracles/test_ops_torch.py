"""Operations against PyTorch: values, first and second derivatives, of drawn arguments.

Needs the extra `dev`; run with `pytest tests/oracles`.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from draws import (
    Draw,
    along,
    channels,
    classes,
    conditioned,
    contracted,
    conv,
    conv_1d,
    conv_transpose,
    distributions,
    gathered,
    grouped_queries,
    inside,
    logits,
    matrix,
    max_pooling,
    mean_pooling,
    norm_over_axes,
    pointwise,
    positive,
    probabilities,
    queries,
    reduced,
    resizing,
    two_alike,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import Tensor, ops
from minidiff.autograd.transforms import vjp
from minidiff.tape.primitive import new_variable


def chw(x):
    """(batch, h, w, c) -> (batch, c, h, w)"""
    return x.permute(0, 3, 1, 2)


def hwc(x):
    return x.permute(0, 2, 3, 1)


def conv_weights(w):
    """(kh, kw, a, b) -> (b, a, kh, kw); PyTorch 2.13 needs some of them contiguous."""
    return w.permute(3, 2, 0, 1).contiguous()


def torch_axis(f):
    def run(x, axis, keepdims):
        return f(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

    return run


def torch_prod(x, axis, keepdims):
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    for a in sorted(axes, reverse=True):
        x = x.prod(int(a), keepdim=keepdims)
    return x


def torch_conv(x, w, b, **options):
    return hwc(F.conv2d(chw(x), conv_weights(w), b, **options))


def torch_conv_transpose(x, w, b, **options):
    return hwc(F.conv_transpose2d(chw(x), w.permute(2, 3, 0, 1).contiguous(), b, **options))


def torch_conv_1d(x, w, b, **options):
    return F.conv1d(x.mT, w.permute(2, 1, 0), b, **options).mT


def torch_pool(f):
    return lambda x, size, stride, padding, **how: hwc(f(chw(x), size, stride, padding, **how))


def torch_scaled_norm_silu(x, w, b, scale, shift):
    to_images = lambda vectors: vectors[:, :, None, None]
    return F.silu(F.group_norm(x, 2, w, b) * (1 + to_images(scale)) + to_images(shift))


def torch_resize(x, **how):
    return hwc(F.interpolate(chw(x), **how))


def torch_normalised(x, axes):
    """Written out: PyTorch 2.13's instance_norm is wrong where a gradient is not contiguous."""
    variance = x.var(axes, correction=0, keepdim=True)
    return (x - x.mean(axes, keepdim=True)) / (variance + 1e-5).sqrt()


def torch_cross_entropy(x, labels, weight=None, **options):
    weight = None if weight is None else torch.as_tensor(weight)
    return F.cross_entropy(x, torch.as_tensor(labels), weight, **options)


def torch_attention(q, k, v, attn_mask, is_causal):
    mask = None if attn_mask is None else torch.as_tensor(attn_mask)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal)


def torch_conditioned_dense(x, w, b, e, v, c, table, ids):
    label = F.embedding(torch.as_tensor(ids), table)
    return F.silu(F.linear(x, w.T, b) + F.linear(e, v.T, c) + label)


# Operations that are called alike: (name, PyTorch's, what draws the arguments).
ALIKE = [
    ("sin", torch.sin, pointwise),
    ("cos", torch.cos, pointwise),
    ("tan", torch.tan, inside),
    ("arcsin", torch.arcsin, inside),
    ("arccos", torch.arccos, inside),
    ("arctan", torch.arctan, pointwise),
    ("sinh", torch.sinh, pointwise),
    ("cosh", torch.cosh, pointwise),
    ("tanh", torch.tanh, pointwise),
    ("exp", torch.exp, pointwise),
    ("expm1", torch.expm1, pointwise),
    ("log", torch.log, positive),
    ("log1p", torch.log1p, positive),
    ("sqrt", torch.sqrt, positive),
    ("erf", torch.erf, pointwise),
    ("sigmoid", torch.sigmoid, pointwise),
    ("softplus", F.softplus, pointwise),
    ("silu", F.silu, pointwise),
    ("gelu", F.gelu, pointwise),
    ("mish", F.mish, pointwise),
    ("softsign", F.softsign, pointwise),
    ("elu", F.elu, pointwise),
    ("relu", F.relu, pointwise),
    ("leaky_relu", F.leaky_relu, pointwise),
    ("hard_swish", F.hardswish, pointwise),
    ("abs", torch.abs, pointwise),
    ("floor", torch.floor, pointwise),
    ("ceil", torch.ceil, pointwise),
    ("round", torch.round, pointwise),
    ("tril", torch.tril, matrix),
    ("triu", torch.triu, matrix),
    ("diag", torch.diag, matrix),
    ("mse_loss", F.mse_loss, two_alike),
    ("huber_loss", F.huber_loss, two_alike),
    ("kl_div", F.kl_div, distributions),
    ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, logits),
    ("sum", torch_axis(torch.sum), reduced),
    ("mean", torch_axis(torch.mean), reduced),
    ("max", torch_axis(torch.amax), reduced),
    ("min", torch_axis(torch.amin), reduced),
    ("logsumexp", torch_axis(torch.logsumexp), reduced),
    ("norm", torch_axis(torch.linalg.vector_norm), reduced),
    ("var", torch_axis(lambda x, **options: torch.var(x, correction=0, **options)), reduced),
    ("std", torch_axis(lambda x, **options: torch.std(x, correction=0, **options)), reduced),
    ("prod", torch_prod, reduced),
    ("cumsum", lambda x, axis: torch.cumsum(x, axis), along),
    ("sort", lambda x, axis: torch.sort(x, axis).values, along),
    ("softmax", lambda x, axis: torch.softmax(x, axis), along),
    ("log_softmax", lambda x, axis: torch.log_softmax(x, axis), along),
    (
        "take_along_axis",
        lambda x, indices, axis: torch.gather(x, axis, torch.as_tensor(indices)),
        gathered,
    ),
    ("conv2d", torch_conv, conv),
    ("conv_transpose2d", torch_conv_transpose, conv_transpose),
    ("conv1d", torch_conv_1d, conv_1d),
    ("max_pool2d", torch_pool(F.max_pool2d), max_pooling),
    ("avg_pool2d", torch_pool(F.avg_pool2d), mean_pooling),
    ("interpolate", torch_resize, resizing),
    ("cross_entropy", torch_cross_entropy, classes),
    ("instance_norm", lambda x, w, b: torch_normalised(x, (1, 2)) * w + b, channels),
    ("layer_norm", lambda x, w, b, axis: F.layer_norm(x, w.shape, w, b), norm_over_axes),
]

# (name, the operation, PyTorch's, what draws the arguments)
ROWS = [
    *((name, getattr(ops, name), torch_op, draw) for name, torch_op, draw in ALIKE),
    (
        "batch_norm",
        lambda x, w, b: ops.batch_norm(x, None, None, w, b),
        lambda x, w, b: hwc(F.batch_norm(chw(x), None, None, w, b, training=True)),
        channels,
    ),
    (
        "adaptive_avg_pool2d",
        ops.adaptive_avg_pool2d,
        lambda x, output_size: hwc(F.adaptive_avg_pool2d(chw(x), output_size)),
        lambda d: ((d.images(),), {"output_size": (d.int(1, 5), d.int(1, 5))}),
    ),
    (
        "group_norm",
        lambda x, w, b: ops.group_norm(x, 2, w, b),
        lambda x, w, b: hwc(F.group_norm(chw(x), 2, w, b)),
        channels,
    ),
    (
        "group_norm_silu",
        lambda x, w, b, scale, shift: ops.group_norm_silu(x, 2, w, b, scale, shift, x),
        lambda x, w, b, scale, shift: hwc(torch_scaled_norm_silu(chw(x), w, b, scale, shift)) + x,
        lambda d: (
            (
                x := d.images(4, least=2),
                d.array(4),
                d.array(4),
                d.array(len(x), 4),
                d.array(len(x), 4),
            ),
            {},
        ),
    ),
    (
        "rms_norm",
        lambda x, w: ops.rms_norm(x, w),
        lambda x, w: F.rms_norm(x, w.shape, w, 1e-5),
        lambda d: ((d.array(2, 5), d.array(5)), {}),
    ),
    ("attention", ops.attention, torch_attention, queries),
    (
        "attention (grouped queries)",
        lambda q, k, v, **how: ops.attention(q, k, v, **how, enable_gqa=True),
        lambda q, k, v, **how: F.scaled_dot_product_attention(q, k, v, **how, enable_gqa=True),
        grouped_queries,
    ),
    (
        "cross_entropy (of probabilities)",
        lambda x, labels, **options: ops.cross_entropy(x, labels, **options),
        torch_cross_entropy,
        probabilities,
    ),
    (
        "dense",
        ops.dense,
        lambda x, w, b: F.linear(x, w.T, b),
        lambda d: ((d.array(2, 3), d.array(3, 4), d.array(4)), {}),
    ),
    (
        "conditioned_dense",
        ops.conditioned_dense,
        torch_conditioned_dense,
        conditioned,
    ),
    (
        "embedding",
        ops.embedding,
        lambda table, ids: F.embedding(torch.as_tensor(ids), table),
        lambda d: ((d.array(4, 3),), {"ids": d.rng.integers(0, 4, (2, 3))}),
    ),
    (
        "einsum",
        lambda x, y, terms: ops.einsum(terms, x, y),
        lambda x, y, terms: torch.einsum(terms, x, y),
        contracted,
    ),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("name,op,torch_op,draw", ROWS, ids=[row[0] for row in ROWS])
def test_agrees_with_torch(name, op, torch_op, draw):
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def check(data):
        d = Draw(data)
        arrays, options = draw(d)
        check_against_torch(op, torch_op, arrays, options, d)

    check()


def check_against_torch(op, torch_op, arrays, options, d):
    xs = [new_variable(Tensor(a)) for a in arrays]
    torch_xs = [in_torch(a) for a in arrays]
    out = op(*xs, **options)
    torch_out = torch_op(*torch_xs, **options)
    close(out, torch_out)
    np.testing.assert_array_equal(op(*arrays, **options), out.data)

    u = d.array(*out.shape)
    torch_u = in_torch(u)
    torch_gradients = torch.autograd.grad(
        torch_out, torch_xs, torch_u, create_graph=True, materialize_grads=True
    )
    for gradient, want in zip(vjp(out, xs, Tensor(u), retain_graph=True), torch_gradients):
        close(gradient, want)

    # The second derivatives: of Σ v·gradient, for fixed v, by the operands and by u.
    vs = [d.rng.standard_normal(a.shape) for a in arrays]
    recorded_u = new_variable(Tensor(u))
    gradients = vjp(out, xs, recorded_u, create_graph=True)
    total = sum(ops.sum(g * v) for g, v in zip(gradients, vs))
    torch_total = sum((g * torch.tensor(v)).sum() for g, v in zip(torch_gradients, vs))
    second = vjp(total, [*xs, recorded_u], create_graph=False)
    if torch_total.requires_grad:
        torch_second = torch.autograd.grad(
            torch_total, [*torch_xs, torch_u], materialize_grads=True, allow_unused=True
        )
        for gradient, want in zip(second, torch_second):
            close(gradient, want)


def in_torch(array):
    return torch.tensor(np.array(array, order="C"), requires_grad=True)


def close(got, want):
    want = want.detach().numpy(force=True)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.data, want, rtol=1e-6, atol=1e-7)
