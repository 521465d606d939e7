"""How far the Gaussian fitted to drawn features is from that of real ones."""

import numpy as np

from .. import checks
from .inputs import MOST_REPEATS, feature_rows, same_width
from .moments import Moments, moments_of

_SMALLEST_SHARE = 0.1  # of the drawn rows, at the first point of the fit


def frechet_distance(a: np.ndarray | Moments, b: np.ndarray | Moments) -> float:
    """The squared Fréchet distance between Gaussians fitted to two sets of feature rows.

    |mean_a − mean_b|² + trace(C_a + C_b − 2 (C_a^½ C_b C_a^½)^½), for rows a (n, d) and b (m, d) or
    the Moments of such rows, computed in float64; the covariances C have n − 1 in their
    denominator. With LeNet's features this is the Fréchet LeNet distance, in units of that LeNet.
    Few rows make it too large: compare sets of equal size only, and give the distance between two
    sets of real data beside it; or see `extrapolated_frechet`.

    Raises ValueError for rows that are not finite or not (n ≥ 2, d) with the same d. Source: Dowson
    and Landau (1982); Heusel et al., "GANs trained by a two time-scale update rule" (2017), eq. 6.
    """
    of_a = moments_of("a", a)
    of_b = moments_of("b", b)
    same_width(a=len(of_a.mean), b=len(of_b.mean))
    root_a = of_a.root
    root_b = of_b.root
    squared_shift = np.sum((of_a.mean - of_b.mean) ** 2)
    total_variance = np.sum(root_a**2) + np.sum(root_b**2)
    # With C = RᵀR, the trace of (C_a^½ C_b C_a^½)^½ is the sum of the singular values of R_a R_bᵀ.
    # So nothing under a root is ever negative or complex, whatever the rounding, and exchanging a
    # and b changes nothing.
    shared_deviation = np.linalg.norm(root_a @ root_b.T, ord="nuc")
    return float(squared_shift + max(total_variance - 2 * shared_deviation, 0.0))


def extrapolated_frechet(
    real: np.ndarray | Moments,
    drawn: np.ndarray,
    rng: int | np.random.Generator,
    points: int = 15,
) -> float:
    """The Fréchet distance that infinitely many drawn rows would have from these real ones.

    At n drawn rows the distance is too large by nearly c/n, where c depends on what drew them, so
    two samplers at equal counts do not compare fairly. Here it is taken at `points` counts, from a
    tenth of `drawn` (n, d) to all of it, each time of other rows drawn without replacement by
    `rng`, a seed or a Generator; a straight line in 1/n through these, by least squares, gives its
    value at 1/n = 0. The line is straight where a tenth of the rows is several times d.

    What remains is the bias of the real set (m, d), rows or Moments, nearly c′/m with a c′ of the
    real data alone: it is the same for all that is compared with this set, and a perfect sampler
    has it, too. Noise may take the value slightly below 0.

    Raises ValueError for rows as `frechet_distance` does, fewer than 20 drawn ones, or fewer than 2
    points. Source: Chong and Forsyth, "Effectively unbiased FID and inception score and where to
    find them" (2020, arXiv 1911.07023), section 4.
    """
    of_real = moments_of("real", real)
    drawn = feature_rows("drawn", drawn, least=20)
    same_width(real=len(of_real.mean), drawn=drawn.shape[1])
    rng = checks.generator("rng", rng)
    checks.whole("points", points, 2, MOST_REPEATS)
    counts = np.linspace(_SMALLEST_SHARE * len(drawn), len(drawn), points).astype(int)
    distances = [
        frechet_distance(of_real, rng.choice(drawn, count, replace=False)) for count in counts
    ]
    _, at_infinity = np.polyfit(1 / counts, distances, deg=1)
    return float(at_infinity)
