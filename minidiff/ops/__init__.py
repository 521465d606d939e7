"""Every operation, under NumPy's name, or PyTorch's where NumPy has none.

Each file is a table of derivatives, and functions that are composed from it. Begin with
`elementwise.py`, a line for each operation; then read on in the order of this list.
"""

# ruff: noqa: F401
# fmt: off
# isort: off
from .elementwise import (
    abs, absolute, add, arccos, arcsin, arctan, ceil, clip, cos, cosh, divide, elu, equal, erf,
    exp, expm1, floor, gelu, greater, greater_equal, hard_swish, isfinite, isnan, leaky_relu,
    less, less_equal, log, log1p, maximum, minimum, mish, multiply, negative, not_equal, power,
    relu, round, sigmoid, sign, silu, sin, sinh, softplus, sqrt, square, subtract, tan, tanh,
    where, zeros_like,
)
from ..tape.primitive import broadcast_to
from .shapes import (
    astype, at_add, at_set, concatenate, diag, expand_dims, flip, getitem, moveaxis, pad, ravel,
    repeat, reshape, roll, scatter_add, split, squeeze, stack, swapaxes, take, take_along_axis,
    tile, transpose, tril, triu,
)
from .reductions import (
    argmax, argmin, argsort, cumsum, logsumexp, max, mean, min, norm, prod, sort, std, sum, trace,
    var,
)
from .products import dot, einsum, matmul, outer, tensordot
from .convolution import conv1d, conv2d, conv2d_dw, conv2d_dx, conv_transpose2d
from .pooling import (
    adaptive_avg_pool2d, avg_pool2d, interpolate, max_pool2d, max_pool2d_dx, upsample_nearest,
    upsample_nearest_dx, windows, windows_dx,
)
from .norms import batch_norm, group_norm, group_norm_silu, instance_norm, layer_norm, rms_norm
from .layers import (
    attention, conditioned_dense, dense, dropout, embedding, embedding_dtable, log_softmax,
    one_hot, self_attention, softmax,
)
from .losses import binary_cross_entropy_with_logits, cross_entropy, huber_loss, kl_div, mse_loss
