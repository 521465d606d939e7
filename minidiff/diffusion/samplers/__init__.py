"""Samplers: from noise x_T down the times to an image x_0. Each is a generator of `Step`.

All are called alike:

    sampler(denoise, x, condition=None, times=None, rng=None, clip="images", ...)

- `denoise`: a `Denoise`, which knows its schedule, or a network that `diffusion.loss` trained;
- `x`: (batch, ...), noise at the first of the times;
- `condition`: None (null), labels or vectors, one for all samples or one for each;
- `times`: falling, by default T, T - 1, …, 0; see `minidiff.diffusion.times`;
- `rng`: a seed, a NumPy Generator, or anything with standard_normal(size, dtype), for those that
  draw noise; or a list of seeds, one for each sample: then each is the same, bit for bit, alone and
  in any batch (a network is then asked for one sample at a time, which takes longer);
- `clip`: what is done to each predicted x_0: "images" for [-1, 1] where x is (batch, height, width,
  channels) and nothing elsewhere, None, True for [-1, 1], a number c for [-c, c], a pair, or a
  function of arrays such as `dynamic_threshold()`.

A wrong call raises TypeError or ValueError at once; NaN or infinity on the way a RuntimeError.
There are len(times) - 1 steps. In the formulas a step goes from t to s < t, alpha is
sqrt(alpha_bar) and sigma is sqrt(1 - alpha_bar).

Read `walk` for what they share, then `discrete`, `ode`, `multistep`.
"""

from .clipping import dynamic_threshold
from .discrete import ddim, ddpm, invert
from .multistep import dpmpp_1, dpmpp_2m, dpmpp_2m_sde, unipc
from .ode import edm, euler, euler_ancestral, heun
from .walk import Step, Walk, sampler

_FROM_NOISE = (
    ddpm,
    ddim,
    euler,
    euler_ancestral,
    heun,
    edm,
    dpmpp_1,
    dpmpp_2m,
    dpmpp_2m_sde,
    unipc,
)
SAMPLERS = {function.__name__: function for function in _FROM_NOISE}

__all__ = [
    "SAMPLERS",
    "Step",
    "Walk",
    "ddim",
    "ddpm",
    "dpmpp_1",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dynamic_threshold",
    "edm",
    "euler",
    "euler_ancestral",
    "heun",
    "invert",
    "sampler",
    "unipc",
]
