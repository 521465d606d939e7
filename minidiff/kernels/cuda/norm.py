"""Group norm (Wu & He 2018), alone and with all that follows it in a network, in one launch.

    x̂ = (x − mean) / σ
    z = (x̂ · weight + bias) · (1 + scale) + shift
    y = silu(z) + skip

A block does one group of one sample. Its threads (x, y) take channel x at the pixels y, y + height
and so on: a thread stays with its channel, and neighbours read numbers that lie side by side.
"""

import math
from typing import Any

import cupy as cp

from .pointwise import SILU
from .source import SUMS, Kernel, block_shape, contiguous, sum_columns

# `scale`, `shift` and `skip` are null where there is none.
TEXT = """
#define EACH_CHANNEL for (long long c = first + threadIdx.x; c < first + depth; c += blockDim.x)
#define EACH_PIXEL \\
  for (long long i = threadIdx.y * channels + c; i < pixels * channels; i += blockDim.y * channels)

// What a channel of a sample makes of x̂.
struct Channel {
  T weight, bias, scale, shift;
  __device__ Channel(const T* weights, const T* biases, const T* scales, const T* shifts,
                     long long c, long long of_sample) {
    weight = weights[c];
    bias = biases[c];
    scale = scales ? scales[of_sample] : T(0);
    shift = shifts ? shifts[of_sample] : T(0);
  }
  __device__ T z(T normal) { return (normal * weight + bias) * (1 + scale) + shift; }
};

extern "C" __global__
void group_norm(const T* x, const T* weights, const T* biases, const T* scales, const T* shifts,
                const T* skip, T* y, T* means, T* rstds,
                long long pixels, long long channels, long long groups, double eps) {
  __shared__ double shared[256];
  long long depth = channels / groups;
  long long first = blockIdx.x % groups * depth;
  long long sample = blockIdx.x / groups;
  long long start = sample * pixels * channels;
  x += start;
  y += start;

  double sum = 0, squares = 0;
  EACH_CHANNEL EACH_PIXEL sum += x[i];
  T mean = sum_of_block(sum, shared) / (pixels * depth);
  EACH_CHANNEL EACH_PIXEL squares += (x[i] - mean) * (x[i] - mean);
  T rstd = 1 / sqrt(sum_of_block(squares, shared) / (pixels * depth) + eps);

  EACH_CHANNEL {
    Channel channel(weights, biases, scales, shifts, c, sample * channels + c);
    EACH_PIXEL {
      T z = channel.z((x[i] - mean) * rstd);
      y[i] = ACTIVATE(z) + (skip ? skip[start + i] : T(0));
    }
  }
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    means[blockIdx.x] = mean;
    rstds[blockIdx.x] = rstd;
  }
}

// dx = (h − mean(h) − x̂ · mean(h · x̂)) / σ with h = dz · (1 + scale) · weight. The two means follow
// from sums over each channel, which the other gradients are made of.
extern "C" __global__
void group_norm_grads(const T* g, const T* x, const T* weights, const T* biases, const T* scales,
                      const T* shifts, const T* means, const T* rstds,
                      T* dx, T* dweights, T* dbiases, T* dscales, T* dshifts,
                      long long pixels, long long channels, long long groups) {
  __shared__ double shared[256];
  long long depth = channels / groups;
  long long first = blockIdx.x % groups * depth;
  long long sample = blockIdx.x / groups;
  long long start = sample * pixels * channels;
  T mean = means[blockIdx.x], rstd = rstds[blockIdx.x];
  g += start;
  x += start;
  dx += start;

  double h_sum = 0, hx_sum = 0;
  for (long long next = 0; next < depth; next += blockDim.x) {
    long long c = first + next + threadIdx.x;
    bool is_mine = c < first + depth;
    double sum = 0, x_sum = 0;  // of dz, and of dz · x̂
    if (is_mine) {
      Channel channel(weights, biases, scales, shifts, c, sample * channels + c);
      EACH_PIXEL {
        T normal = (x[i] - mean) * rstd;
        T dz = g[i] * SLOPE(channel.z(normal));
        sum += dz;
        x_sum += dz * normal;
      }
    }
    sum = sum_of_column(sum, shared);
    x_sum = sum_of_column(x_sum, shared);
    if (is_mine && threadIdx.y == 0) {
      long long place = sample * channels + c;
      Channel channel(weights, biases, scales, shifts, c, place);
      dweights[place] = x_sum * (1 + channel.scale);
      dbiases[place] = sum * (1 + channel.scale);
      if (scales) dscales[place] = x_sum * channel.weight + sum * channel.bias;
      if (shifts) dshifts[place] = sum;
      h_sum += sum * (1 + channel.scale) * channel.weight;
      hx_sum += x_sum * (1 + channel.scale) * channel.weight;
    }
  }
  T mean_h = sum_of_block(h_sum, shared) / (pixels * depth);
  T mean_hx = sum_of_block(hx_sum, shared) / (pixels * depth);

  EACH_CHANNEL {
    Channel channel(weights, biases, scales, shifts, c, sample * channels + c);
    EACH_PIXEL {
      T normal = (x[i] - mean) * rstd;
      T h = g[i] * SLOPE(channel.z(normal)) * (1 + channel.scale) * channel.weight;
      dx[i] = rstd * (h - mean_h - normal * mean_hx);
    }
  }
}
"""
_PLAIN = f"#define ACTIVATE(z) z\n#define SLOPE(z) T(1)\n{SUMS}{TEXT}"
_SILU = f"{SILU}#define ACTIVATE silu\n#define SLOPE silu_slope\n{SUMS}{TEXT}"
_plain = Kernel("group_norm", _PLAIN)
_plain_grads = Kernel("group_norm_grads", _PLAIN)
_silu = Kernel("group_norm", _SILU)
_silu_grads = Kernel("group_norm_grads", _SILU)


def group_norm(x, weight, bias, groups, eps):
    """(y, aux): mean 0 and variance 1 in each group; aux = (mean, 1/σ), each (b, groups)."""
    return _normalised(_plain, x, weight, bias, None, None, None, groups, eps)


def group_norm_grads(g, x, weight, bias, aux, groups):
    """(dx, dweight, dbias)"""
    return _gradients(_plain_grads, g, x, weight, bias, None, None, aux, groups)[:3]


def group_norm_silu(x, weight, bias, scale, shift, skip, groups, eps):
    """(y, aux): silu(group_norm(x) · (1 + scale) + shift) + skip; scale, shift (b, channels)."""
    return _normalised(_silu, x, weight, bias, scale, shift, skip, groups, eps)


def group_norm_silu_grads(g, x, weight, bias, scale, shift, aux, groups):
    """(dx, dweight, dbias, dscale, dshift); the normalised input is computed again, not kept."""
    return _gradients(_silu_grads, g, x, weight, bias, scale, shift, aux, groups)


def _normalised(kernel, x, weight, bias, scale, shift, skip, groups, eps):
    x, weight, bias, scale, shift, skip = _contiguous(x, weight, bias, scale, shift, skip)
    batch, *positions, channels = x.shape
    y = cp.empty_like(x)
    mean = cp.empty((batch, groups), x.dtype)
    rstd = cp.empty((batch, groups), x.dtype)
    sizes = (math.prod(positions), channels, groups)
    operands = (x, weight, bias, scale, shift, skip)
    block = block_shape(channels // groups)
    kernel(x.dtype, [batch * groups], block, *operands, y, mean, rstd, *sizes, float(eps))
    return y, (mean, rstd)


def _gradients(kernel, g, x, weight, bias, scale, shift, aux, groups):
    g, x, weight, bias, scale, shift = _contiguous(g, x, weight, bias, scale, shift)
    batch, *positions, channels = x.shape
    dx = cp.empty_like(x)
    of_samples = [cp.empty((batch, channels), x.dtype) for _ in range(2)]
    dscale = None if scale is None else cp.empty_like(scale)
    dshift = None if shift is None else cp.empty_like(shift)
    sizes = (math.prod(positions), channels, groups)
    operands = (g, x, weight, bias, scale, shift, *aux)
    results = (dx, *of_samples, dscale, dshift)
    block = block_shape(channels // groups)
    kernel(x.dtype, [batch * groups], block, *operands, *results, *sizes)
    dweight, dbias = map(sum_columns, of_samples)
    return dx, dweight, dbias, dscale, dshift


def _contiguous(*operands: Any) -> list:
    return [None if x is None else contiguous(x) for x in operands]
