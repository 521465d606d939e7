"""Every operation, under NumPy's name, or PyTorch's where NumPy has none.

Each file is a table of derivatives, and functions that are composed from it. Begin with
`elementwise.py`, a line for each operation; then read on in the order of this list.
"""

# ruff: noqa: F401
# fmt: off
# isort: off
import sys

from .. import first_guesses, messages
from .elementwise import (
    abs, absolute, add, arccos, arcsin, arctan, ceil, celu, clip, cos, cosh, divide, elu, equal,
    erf, exp, expm1, floor, gelu, greater, greater_equal, hard_swish, isfinite, isnan, leaky_relu,
    less, less_equal, log, log1p, maximum, minimum, mish, multiply, negative, not_equal, power,
    relu, round, selu, sigmoid, sign, silu, sin, sinh, softplus, softsign, sqrt, square, subtract,
    tan, tanh, where, zeros_like,
)
from ..tape.primitive import broadcast_to
from .shapes import (
    astype, at_add, at_set, concatenate, diag, expand_dims, flip, getitem, moveaxis, pad, ravel,
    repeat, reshape, roll, scatter_add, split, squeeze, stack, swapaxes, take, take_along_axis,
    tile, transpose, tril, triu,
)
from .reductions import (
    argmax, argmin, argsort, cumsum, logsumexp, max, mean, min, norm, prod, sort, std, sum, var,
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
from .losses import (
    binary_cross_entropy_with_logits, cross_entropy, huber_loss, kl_div, mse_loss, nll_loss,
)

# NumPy's names that are a line or two of what stands above.
from . import linalg
from .numpy_names.pointwise import (
    arccosh, arcsinh, arctan2, arctanh, bitwise_and, bitwise_or, bitwise_xor, cbrt, copysign,
    deg2rad, degrees, exp2, fabs, floor_divide, fmax, fmin, fmod, hypot, invert, isclose, isinf,
    left_shift, log2, log10, logaddexp, logaddexp2, logical_and, logical_not, logical_or,
    logical_xor, logit, mod, nan_to_num, positive, rad2deg, radians, reciprocal, remainder,
    right_shift, rint, signbit, sinc, true_divide, trunc,
)
from .numpy_names.joining import (
    append, array, array_split, atleast_1d, atleast_2d, atleast_3d, column_stack, concat, copy,
    delete, diagonal, dsplit, dstack, fliplr, flipud, hsplit, hstack, insert, make_diagonal,
    matrix_transpose, meshgrid, nonzero, permute_dims, rollaxis, rot90, select, vsplit, vstack,
)
from .numpy_names.summaries import (
    all, allclose, amax, amin, any, argpartition, array_equal, average, count_nonzero, cumprod,
    diff, full_like, gradient, linspace, median, ones_like, partition, percentile, ptp, quantile,
    trace,
)
from .numpy_names.products import cross, inner, kron, vdot, vecdot
from .numpy_names.tails import erfc, inverse_mills, log_ndtr, ndtr


def __getattr__(name: str):
    raise first_guesses.unknown("md.ops", name, ())


messages.open_doors(linalg)
messages.open_doors(sys.modules[__name__])
