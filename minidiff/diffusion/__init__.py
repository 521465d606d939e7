"""Diffusion. Small things joined by one kind of function, `Denoise`:

    (x_t, t, condition) -> Prediction(x0, noise)

Read `schedule`, `paths`, `forward_process`, `prediction`, `parameterization` and `network`, then
`samplers`, then `guidance`; `exact` has denoisers that need no training. `mean_flow` and
`distillation` train networks that draw in a few steps, or in one.
"""

from .. import first_guesses
from . import distillation, editing, exact, guidance, likelihood, losses, mean_flow, samplers
from .editing import image_to_image, inpaint, interpolate, slerp
from .forward_process import posterior, q_sample
from .grids import times
from .likelihood import bits_per_dim
from .losses import label_dropout, loss
from .network import denoiser
from .parameterization import Parameterization
from .paths import Path, straight_schedule
from .prediction import Denoise, FreeNoise, Prediction
from .samplers import Step, dynamic_threshold
from .sampling import all_steps, final, sample, sample_steps
from .schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    sigmoid_schedule,
    zero_terminal_snr,
)

__all__ = [
    "Denoise",
    "FreeNoise",
    "Parameterization",
    "Path",
    "Prediction",
    "Schedule",
    "Step",
    "all_steps",
    "bits_per_dim",
    "cosine_schedule",
    "denoiser",
    "distillation",
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
    "mean_flow",
    "posterior",
    "q_sample",
    "sample",
    "sample_steps",
    "samplers",
    "sigmoid_schedule",
    "slerp",
    "straight_schedule",
    "times",
    "zero_terminal_snr",
]


def __getattr__(name: str):
    for room in (samplers, guidance, losses, exact):
        if getattr(vars(room).get(name), "__module__", "").startswith(__name__):
            place = room.__name__.partition(".")[2]
            raise AttributeError(f"md.diffusion has no {name!r}; type {place}.{name}", name=name)
    raise first_guesses.unknown("md.diffusion", name, ())
