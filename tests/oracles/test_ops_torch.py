"""Operations against PyTorch: values, first and second derivatives, over drawn shapes and memory
layouts.

Needs the extra `dev`; run with `pytest tests/oracles`.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import Tensor, ops
from minidiff.autograd.transforms import new_variable, vjp


def chw(x):
    """(batch, h, w, c) -> (batch, c, h, w)"""
    return x.permute(0, 3, 1, 2)


def hwc(x):
    return x.permute(0, 2, 3, 1)


def conv_weights(w):
    """(kh, kw, a, b) -> (b, a, kh, kw)"""
    return w.permute(3, 2, 0, 1)


class Draw:
    """Arrays and numbers drawn for one example."""

    def __init__(self, data):
        self.data = data
        self.rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def int(self, low, high):
        return self.data.draw(st.integers(low, high))

    def of(self, *choices):
        return self.data.draw(st.sampled_from(choices))

    def array(self, *shape, low=None, high=None):
        """Distinct numbers (so no ties), in a drawn memory layout."""
        x = self.rng.standard_normal(shape) if low is None else self.rng.uniform(low, high, shape)
        layout = self.of("C", "F", "strided", "reversed")
        if layout == "strided" and x.ndim:
            x = np.repeat(x, 2, axis=-1)[..., ::2]
        elif layout == "reversed" and x.ndim:
            x = x[::-1].copy()[::-1]
        return np.asarray(x, order="F") if layout == "F" else x

    def images(self, channels=None, least=1, most=7):
        return self.array(
            self.int(1, 3), self.int(least, most), self.int(least, most), channels or self.int(1, 4)
        )


def pointwise(d):
    return (d.array(*d.of((), (3,), (2, 3), (0, 2), (2, 1, 3))),), {}


def positive(d):
    return (d.array(*d.of((), (3,), (2, 3)), low=0.2, high=3),), {}


def inside(d):
    return (d.array(*d.of((), (3,), (2, 3)), low=-0.9, high=0.9),), {}


def conv(d):
    groups, dilation, padding = d.of(1, 1, 2), d.of(1, 2, (2, 1)), d.of(0, 1, (2, 0))
    w = d.array(d.int(1, 3), d.int(1, 3), d.int(1, 3), groups * d.int(1, 3))
    x = d.images(w.shape[2] * groups, least=5)
    return (x, w, d.array(w.shape[3])), {
        "stride": d.of(1, 2, (1, 3)),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }


def conv_transpose(d):
    groups, stride = d.of(1, 1, 2), d.of(2, 3, (2, 3))
    w = d.array(d.int(2, 4), d.int(2, 4), groups * d.int(1, 3), d.int(1, 3))
    how = {
        "stride": stride,
        "padding": d.of(0, 1, (0, 1)),
        "output_padding": d.of(0, 1, (1, 0)),
        "groups": groups,
        "dilation": d.of(1, 2),
    }
    return (d.images(w.shape[2], least=2), w, d.array(w.shape[3] * groups)), how


def conv_1d(d):
    groups = d.of(1, 2)
    w = d.array(d.int(1, 3), d.int(1, 2), groups * 2)
    how = {"stride": d.int(1, 2), "padding": d.int(0, 2), "dilation": d.int(1, 2), "groups": groups}
    return (d.array(2, d.int(5, 9), w.shape[1] * groups), w, d.array(w.shape[2])), how


def pooling(d):
    size = d.of(2, 3, (2, 3))
    return (d.images(least=4),), {
        "size": size,
        "stride": d.of(None, 1, 2, (2, 1)),
        "padding": d.of(0, 1),
    }


def resizing(d):
    mode = d.of("nearest", "bilinear")
    how = d.of({"size": (d.int(1, 9), d.int(1, 9))}, {"scale_factor": d.of(2, 0.5, 1.5, 2.7)})
    return (d.images(least=2),), how | {
        "mode": mode,
        "align_corners": mode == "bilinear" and d.of(True, False),
    }


def matrix(d):
    return (d.array(d.int(1, 4), d.int(1, 4)),), {}


def reduced(d):
    return (d.array(2, 3, 4),), {"axis": d.of(0, -1, (0, 2), None), "keepdims": d.of(True, False)}


def along(d):
    return (d.array(2, 3, 4),), {"axis": d.of(0, 1, -1)}


def norm_over_axes(d):
    x, axis = d.array(2, 3, 4), d.of(-1, (-2, -1))
    shape = x.shape[-1:] if axis == -1 else x.shape[-2:]
    return (x, d.array(*shape), d.array(*shape)), {"axis": axis}


def channels(d):
    x = d.images(4, least=2)
    return (x, d.array(4), d.array(4)), {}


def classes(d):
    x = d.array(d.int(1, 5), d.int(2, 4))
    labels = d.rng.integers(0, x.shape[1], len(x))
    labels[1:] = np.where(d.rng.random(len(x) - 1) < 0.3, -100, labels[1:])
    return (x,), {
        "labels": labels,
        "label_smoothing": d.of(0.0, 0.1),
        "reduction": d.of("mean", "sum", "none"),
    }


def two_alike(d):
    shape = d.of((3,), (2, 3), (4, 1, 2))
    return (d.array(*shape), d.array(*shape)), {"reduction": d.of("mean", "sum", "none")}


def logits(d):
    shape = d.of((3,), (2, 3))
    return (d.array(*shape), d.array(*shape, low=0, high=1)), {
        "reduction": d.of("mean", "sum", "none")
    }


def distributions(d):
    x, y = d.array(3, 4), d.array(3, 4, low=0.1, high=1)
    return (x, y), {
        "reduction": d.of("mean", "sum", "none", "batchmean"),
        "log_target": d.of(True, False),
    }


def gathered(d):
    return (d.array(3, 4),), {"indices": d.rng.integers(0, 3, (2, 4)), "axis": 0}


def torch_axis(f):
    def run(x, axis, keepdims):
        return f(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

    return run


def torch_prod(x, axis, keepdims):
    axes = (
        range(x.ndim)
        if axis is None
        else sorted(a % x.ndim for a in ([axis] if isinstance(axis, int) else axis))
    )
    for a in reversed(axes):
        x = x.prod(a, keepdim=keepdims)
    return x


def torch_conv(x, w, b, **how):
    return hwc(F.conv2d(chw(x), conv_weights(w), b, **how))


def torch_conv_transpose(x, w, b, **how):
    return hwc(F.conv_transpose2d(chw(x), w.permute(2, 3, 0, 1).contiguous(), b, **how))


def torch_pool(f):
    return lambda x, size, stride, padding: hwc(f(chw(x), size, stride, padding))


def torch_resize(x, mode, align_corners, **size):
    return hwc(
        F.interpolate(
            chw(x), mode=mode, align_corners=align_corners if mode == "bilinear" else None, **size
        )
    )


def torch_normal(x, axes):
    """Written out: PyTorch 2.13 differentiates its instance_norm wrongly where a gradient is not contiguous."""
    return (x - x.mean(axes, keepdim=True)) / (
        x.var(axes, correction=0, keepdim=True) + 1e-5
    ).sqrt()


def torch_cross_entropy(x, labels, **how):
    return F.cross_entropy(x, torch.as_tensor(labels), **how)


same = [
    (name, getattr(ops, name), theirs, draw)
    for name, theirs, draw in [
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
        ("var", torch_axis(lambda x, **how: torch.var(x, correction=0, **how)), reduced),
        ("std", torch_axis(lambda x, **how: torch.std(x, correction=0, **how)), reduced),
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
        ("conv1d", lambda x, w, b, **how: F.conv1d(x.mT, w.permute(2, 1, 0), b, **how).mT, conv_1d),
        ("max_pool2d", torch_pool(F.max_pool2d), pooling),
        ("avg_pool2d", torch_pool(F.avg_pool2d), pooling),
        ("interpolate", torch_resize, resizing),
        ("cross_entropy", torch_cross_entropy, classes),
        ("instance_norm", lambda x, w, b: torch_normal(x, (1, 2)) * w + b, channels),
        ("layer_norm", lambda x, w, b, axis: F.layer_norm(x, w.shape, w, b), norm_over_axes),
    ]
]

ROWS = [
    *same,
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
        lambda x, w, b, s: ops.group_norm_silu(x, 2, w, b, s, x),
        lambda x, w, b, s: hwc(F.silu(F.group_norm(chw(x), 2, w, b) + s[:, :, None, None])) + x,
        lambda d: ((x := d.images(4, least=2), d.array(4), d.array(4), d.array(len(x), 4)), {}),
    ),
    (
        "rms_norm",
        lambda x, w: ops.rms_norm(x, w),
        lambda x, w: F.rms_norm(x, w.shape, w, 1e-5),
        lambda d: ((d.array(2, 5), d.array(5)), {}),
    ),
    (
        "attention",
        ops.attention,
        F.scaled_dot_product_attention,
        lambda d: ((d.array(2, 3, 4), d.array(2, 5, 4), d.array(2, 5, 3)), {}),
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
        lambda x, w, b, e, v, c, table, ids: F.silu(
            F.linear(x, w.T, b) + F.linear(e, v.T, c) + F.embedding(torch.as_tensor(ids), table)
        ),
        lambda d: (
            (
                d.array(3, 2),
                d.array(2, 4),
                d.array(4),
                d.array(3, 5),
                d.array(5, 4),
                d.array(4),
                d.array(2, 4),
            ),
            {"ids": d.rng.integers(0, 2, 3)},
        ),
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
        lambda d: (
            (d.array(3, 3), d.array(3, 3)),
            {"terms": d.of("ij,jk", "ij,kj->ik", "ii,ij->j", "ij,ij->", "ij,kl->", "ii,jj")},
        ),
    ),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("name,ours,theirs,draw", ROWS, ids=[row[0] for row in ROWS])
def test_agrees_with_torch(name, ours, theirs, draw):
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def check(data):
        d = Draw(data)
        arrays, how = draw(d)
        xs = [new_variable(Tensor(a)) for a in arrays]
        ts = [torch.tensor(np.array(a, order="C"), requires_grad=True) for a in arrays]
        out, want = ours(*xs, **how), theirs(*ts, **how)
        close(out.data, want)
        bare = ours(*arrays, **how)
        np.testing.assert_array_equal(bare, out.data)
        u = d.array(*out.shape)
        first = vjp(out, xs, Tensor(u), retain_graph=True)
        tu = torch.tensor(np.array(u, order="C"), requires_grad=True)
        wanted = torch.autograd.grad(want, ts, tu, create_graph=True, materialize_grads=True)
        for got, expected in zip(first, wanted):
            close(got.data, expected)
        uu = new_variable(Tensor(u))
        again = vjp(out, xs, uu, create_graph=True)
        vs = [d.rng.standard_normal(a.shape) for a in arrays]
        total, expected = (
            sum(ops.sum(g * v) for g, v in zip(again, vs)),
            sum((g * torch.tensor(v)).sum() for g, v in zip(wanted, vs)),
        )
        second = vjp(total, [*xs, uu], create_graph=False)
        if expected.requires_grad:
            for got, expect in zip(
                second,
                torch.autograd.grad(expected, [*ts, tu], materialize_grads=True, allow_unused=True),
            ):
                close(got.data, expect)

    check()


def close(got, want):
    want = want.detach().numpy(force=True)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
