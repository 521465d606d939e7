"""What is drawn for an operation: a function of a `Draw` gives (arrays, options by name)."""

import numpy as np
from hypothesis import strategies as st


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
    groups = d.of(1, 1, 2)
    w = d.array(d.int(1, 3), d.int(1, 3), d.int(1, 3), groups * d.int(1, 3))
    x = d.images(w.shape[2] * groups, least=5)
    options = {
        "stride": d.of(1, 2, (1, 3)),
        "padding": d.of(0, 1, (2, 0)),
        "dilation": d.of(1, 2, (2, 1)),
        "groups": groups,
    }
    return (x, w, d.array(w.shape[3])), options


def conv_transpose(d):
    groups = d.of(1, 1, 2)
    w = d.array(d.int(2, 4), d.int(2, 4), groups * d.int(1, 3), d.int(1, 3))
    options = {
        "stride": d.of(2, 3, (2, 3)),
        "padding": d.of(0, 1, (0, 1)),
        "output_padding": d.of(0, 1, (1, 0)),
        "groups": groups,
        "dilation": d.of(1, 2),
    }
    return (d.images(w.shape[2], least=2), w, d.array(w.shape[3] * groups)), options


def conv_1d(d):
    groups = d.of(1, 2)
    w = d.array(d.int(1, 3), d.int(1, 2), groups * 2)
    options = {
        "stride": d.int(1, 2),
        "padding": d.int(0, 2),
        "dilation": d.int(1, 2),
        "groups": groups,
    }
    return (d.array(2, d.int(5, 9), w.shape[1] * groups), w, d.array(w.shape[2])), options


def pooling(d):
    options = {
        "size": d.of(2, 3, (2, 3)),
        "stride": d.of(None, 1, 2, (2, 1)),
        "padding": d.of(0, 1),
        "ceil_mode": d.of(False, True),
    }
    return (d.images(least=4),), options


def max_pooling(d):
    images, options = pooling(d)
    return images, options | {"dilation": d.of(1, (2, 1), (1, 2)) if options["padding"] else 1}


def mean_pooling(d):
    images, options = pooling(d)
    return images, options | {"count_include_pad": d.of(False, True)}


def resizing(d):
    mode = d.of("nearest", "nearest-exact", "bilinear", "bicubic")
    options = d.of({"size": (d.int(1, 9), d.int(1, 9))}, {"scale_factor": d.of(2, 0.5, 1.5, 2.7)})
    options["mode"] = mode
    if not mode.startswith("nearest"):
        options["align_corners"] = d.of(True, False)
        options["antialias"] = not options["align_corners"] and d.of(True, False)
    return (d.images(least=2),), options


def matrix(d):
    return (d.array(d.int(1, 4), d.int(1, 4)),), {}


def reduced(d):
    return (d.array(2, 3, 4),), {"axis": d.of(0, -1, (0, 2), None), "keepdims": d.of(True, False)}


def along(d):
    return (d.array(2, 3, 4),), {"axis": d.of(0, 1, -1)}


def norm_over_axes(d):
    x = d.array(2, 3, 4)
    axis = d.of(-1, (-2, -1))
    shape = x.shape[-1:] if axis == -1 else x.shape[-2:]
    return (x, d.array(*shape), d.array(*shape)), {"axis": axis}


def channels(d):
    x = d.images(4, least=2)
    return (x, d.array(4), d.array(4)), {}


def classes(d):
    x = d.array(d.int(1, 5), d.int(2, 4))
    labels = d.rng.integers(0, x.shape[1], len(x))
    labels[1:] = np.where(d.rng.random(len(x) - 1) < 0.3, -100, labels[1:])
    options = {
        "labels": labels,
        "label_smoothing": d.of(0.0, 0.1),
        "reduction": d.of("mean", "sum", "none"),
        "weight": d.of(None, d.rng.uniform(0.5, 2, x.shape[1])),
    }
    return (x,), options


def probabilities(d):
    x = d.array(d.int(1, 5), d.int(2, 4))
    options = {
        "label_smoothing": d.of(0.0, 0.1),
        "reduction": d.of("mean", "sum", "none"),
        "weight": d.of(None, d.rng.uniform(0.5, 2, x.shape[1])),
    }
    return (x, d.array(*x.shape, low=0, high=1)), options


def queries(d):
    """(q, k, v) and no mask, one of booleans, one of numbers, or the causal one."""
    bare = d.rng.random((3, 5)) < 0.6
    numbers = np.where(d.rng.random((2, 3, 5)) < 0.2, -np.inf, d.rng.standard_normal((2, 3, 5)))
    mask = d.of(None, bare, numbers)
    options = {"attn_mask": mask, "is_causal": mask is None and d.of(True, False)}
    return (d.array(2, 3, 4), d.array(2, 5, 4), d.array(2, 5, 3)), options


def grouped_queries(d):
    """(q, k, v), where a head of k and v is for 1 to 3 heads of q."""
    n = d.of(1, 2)
    q = d.array(2, n * d.of(1, 2, 3), 3, 4)
    return (q, d.array(2, n, 5, 4), d.array(2, n, 5, 3)), {"is_causal": d.of(True, False)}


def two_alike(d):
    shape = d.of((3,), (2, 3), (4, 1, 2))
    return (d.array(*shape), d.array(*shape)), {"reduction": d.of("mean", "sum", "none")}


def logits(d):
    shape = d.of((3,), (2, 3))
    options = {"reduction": d.of("mean", "sum", "none")}
    return (d.array(*shape), d.array(*shape, low=0, high=1)), options


def distributions(d):
    options = {
        "reduction": d.of("mean", "sum", "none", "batchmean"),
        "log_target": d.of(True, False),
    }
    return (d.array(3, 4), d.array(3, 4, low=0.1, high=1)), options


def gathered(d):
    return (d.array(3, 4),), {"indices": d.rng.integers(0, 3, (2, 4)), "axis": 0}


def conditioned(d):
    shapes = [(3, 2), (2, 4), (4,), (3, 5), (5, 4), (4,), (2, 4)]
    return tuple(d.array(*shape) for shape in shapes), {"ids": d.rng.integers(0, 2, 3)}


def contracted(d):
    terms = d.of("ij,jk", "ij,kj->ik", "ii,ij->j", "ij,ij->", "ij,kl->", "ii,jj")
    return (d.array(3, 3), d.array(3, 3)), {"terms": terms}
