"""Figures that judge drawn samples.

Some compare the `features` of drawn and of real samples, such as those that a LeNet's last layer
sees: `frechet_distance` their Gaussians, `kernel_distance` all their moments up to
the third, `manifold` where they lie, and `nearest` finds copies. The others ask a classifier what
it reads: `predict`, `accuracy`, `classification_report`. A figure of few samples is a guess:
`extrapolated_frechet` takes the bias of small counts away, `standard_error` says how far off any
figure may be.
"""

from .classification import Report, accuracy, classification_report, features, predict
from .frechet import extrapolated_frechet, frechet_distance
from .mean_discrepancy import KernelDistance, kernel_distance
from .moments import Moments
from .neighbours import Manifold, manifold, nearest
from .resampling import standard_error

__all__ = [
    "KernelDistance",
    "Manifold",
    "Moments",
    "Report",
    "accuracy",
    "classification_report",
    "extrapolated_frechet",
    "features",
    "frechet_distance",
    "kernel_distance",
    "manifold",
    "nearest",
    "predict",
    "standard_error",
]
