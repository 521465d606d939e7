"""Floor 4: diffusion. Small things joined by one signature, `Denoise`: (x_t, t, condition) ->
Prediction(x0, noise).

Read `schedule`, `process`, `denoise`, then `walk` and `samplers`, then `guidance`; `exact` has
denoisers that need no training.
"""

from . import editing, exact, guidance, likelihood, losses, samplers
from .denoise import Denoise, Denoiser, FreeNoise, Prediction, denoiser
from .editing import image_to_image, inpaint, interpolate, slerp
from .likelihood import bits_per_dim
from .losses import label_dropout, loss
from .process import posterior, q_sample
from .sampling import all_steps, final, sample, sample_steps
from .schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    sigmoid_schedule,
    times,
    zero_terminal_snr,
)
from .walk import Step, dynamic_threshold

__all__ = [
    "Denoise",
    "Denoiser",
    "FreeNoise",
    "Prediction",
    "Schedule",
    "Step",
    "all_steps",
    "bits_per_dim",
    "cosine_schedule",
    "denoiser",
    "dynamic_threshold",
    "editing",
    "exact",
    "final",
    "guidance",
    "image_to_image",
    "inpaint",
    "interpolate",
    "label_dropout",
    "likelihood",
    "linear_schedule",
    "loss",
    "losses",
    "posterior",
    "q_sample",
    "sample",
    "sample_steps",
    "samplers",
    "sigmoid_schedule",
    "slerp",
    "times",
    "zero_terminal_snr",
]
