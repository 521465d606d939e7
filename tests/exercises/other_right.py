"""Right answers that are written otherwise than the solutions: they are to pass, too."""

import numpy as np

import minidiff as md
from minidiff import diffusion, ops


def backward_in_order(root):
    """All nodes sorted first, then one pass from the newest to the oldest."""
    nodes = {root.node}
    waiting = [root.node]
    while waiting:
        for parent in waiting.pop().parents:
            if parent not in nodes:
                nodes.add(parent)
                waiting.append(parent)
    gradients = {root.node: np.ones(root.data.shape)}
    for node in sorted(nodes, key=lambda node: -node.order):
        shares = node.vjp(gradients[node]) if node.vjp else []
        for parent, share in zip(node.parents, shares):
            gradients[parent] = gradients.get(parent, 0) + share
    return gradients


def broadcast_by_loops(g, in_shape):
    while g.ndim > len(in_shape):
        g = g.sum(axis=0)
    for axis, length in enumerate(in_shape):
        if length == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def sort_by_permutation_matrix(g, x):
    return ops.matmul(
        g, np.eye(len(x), dtype=g.dtype)[np.argsort(x.data if isinstance(x, md.Tensor) else x)]
    )


def directions(f, x, gradient):
    rng = np.random.default_rng()
    h = 1e-6
    for _ in range(2):
        v = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1, x.shape)
        seen = (f(x + h * v) - f(x - h * v)) / (2 * h)
        if not np.isclose(seen, gradient.ravel() @ v.ravel(), rtol=1e-4, atol=0):
            return False
    return True


def convolve_by_windows(x, w):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))
    return np.tensordot(windows, w, axes=([4, 5, 3], [0, 1, 2]))


def dx_by_padding(g, w):
    down, across = w.shape[:2]
    padded = np.pad(g, ((0, 0), (down - 1, down - 1), (across - 1, across - 1), (0, 0)))
    return convolve_by_windows(padded, w[::-1, ::-1].swapaxes(2, 3))


def dw_by_einsum(x, g):
    windows = np.lib.stride_tricks.sliding_window_view(x, g.shape[1:3], axis=(1, 2))
    return np.einsum("nuvcij,nijo->uvco", windows, g)


def loop_with_a_sum(x, w, y):
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    total = 0.0
                    for u in range(w.shape[0]):
                        for v in range(w.shape[1]):
                            for c in range(w.shape[2]):
                                total += x[n, i + u, j + v, c] * w[u, v, c, o]
                    y[n, i, j, o] = total


def winograd_by_matrices(d, g):
    G = [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]
    B = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
    of_taps = [sum(a * b for a, b in zip(row, g)) for row in G]
    of_pixels = [sum(a * b for a, b in zip(row, d)) for row in B]
    p = [a * b for a, b in zip(of_taps, of_pixels)]
    return p[0] + p[1] + p[2], p[1] - p[2] - p[3]


def one_by_one(x0, t, noise, alpha_bar):
    x_t = np.empty_like(x0)
    for i, time in enumerate(t):
        x_t[i] = alpha_bar[time] ** 0.5 * x0[i] + (1 - alpha_bar[time]) ** 0.5 * noise[i]
    return x_t


def mixture(x, alpha, sigma, means, stds, weights):
    schedule = diffusion.cosine_schedule(100)
    t = int(np.argmin(np.abs(schedule.alpha - alpha)))
    return diffusion.exact.GaussianMixture(means, stds, weights).denoiser(schedule)(x, t).x0


def ddim_from_x(denoise, x, t, s):
    alpha, sigma = denoise.schedule.alpha_sigma(t)
    next_alpha, next_sigma = denoise.schedule.alpha_sigma(s)
    x0 = denoise(x, t).x0
    return next_sigma / sigma * x + (next_alpha - next_sigma * alpha / sigma) * x0


def ddpm_by_posterior(denoise, x, t, s, rng):
    mean, variance = diffusion.posterior(denoise.schedule, denoise(x, t).x0, x, t, s)
    return rng.normal(mean, np.sqrt(variance))


def two_m_by_exponentials(schedule, x, t, s, guess, last):
    _, sigma = schedule.alpha_sigma(t)
    alpha_s, sigma_s = schedule.alpha_sigma(s)
    if s == 0:
        return guess
    h = schedule.half_log_snr(s) - schedule.half_log_snr(t)
    D = guess
    if last is not None:
        r = (schedule.half_log_snr(t) - schedule.half_log_snr(last[0])) / h
        D = (1 + 1 / (2 * r)) * guess - 1 / (2 * r) * last[1]
    return sigma_s / sigma * x - alpha_s * np.expm1(-h) * D


def loss_by_q_sample(model, schedule, x0, rng):
    t = 1 + rng.integers(schedule.timesteps, size=x0.shape[0])
    noise = rng.normal(size=x0.shape)
    a = schedule.alpha_bar[t][:, None]
    x_t = diffusion.q_sample(schedule, x0, t, noise)
    error = model(x_t, t, None) - (a**0.5 * noise - (1 - a) ** 0.5 * x0)
    return ops.sum(error * error) / x0.size


def hidden_in_a_copy(labels, probability, rng):
    labels = labels.copy()
    labels[rng.uniform(size=labels.shape) < probability] = 0
    return labels


def adam_of_the_paper(x, g, m, v, k, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    """The order of section 2 that is said to be cheaper; eps counts a little otherwise."""
    m = m + (1 - beta1) * (g - m)
    v = v + (1 - beta2) * (g * g - v)
    rate = lr * np.sqrt(1 - beta2**k) / (1 - beta1**k)
    return x - rate * m / (np.sqrt(v) + eps), m, v


def distance_by_roots(a, b):
    def covariance(rows):
        centred = rows - rows.mean(axis=0)
        return centred.T @ centred / (len(rows) - 1)

    values, vectors = np.linalg.eigh(covariance(a))
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.linalg.eigvalsh(root @ covariance(b) @ root)
    moved = a.mean(axis=0) - b.mean(axis=0)
    spread = np.trace(covariance(a)) + np.trace(covariance(b))
    return moved @ moved + spread - 2 * np.sqrt(np.maximum(shared, 0)).sum()


RIGHT = {
    "sine_rule": lambda g, x: g * (np.exp(1j * x)).real,
    "spread_rule": lambda g, a: np.full_like(a, np.sum(g)),
    "backward": backward_in_order,
    "tanh_rule": lambda g, x: g / ops.cosh(x) ** 2,
    "divide_rule": lambda g, x, y: g * x * -(y**-2),
    "matmul_rule": lambda g, x: ops.einsum("na,nb->ab", x, g),
    "sum_rule": lambda g, in_shape, axis: ops.expand_dims(g, axis) * np.ones(in_shape, g.dtype),
    "broadcast_rule": broadcast_by_loops,
    "where_rule": lambda g, mask: g * mask,
    "sort_rule": sort_by_permutation_matrix,
    "softplus_rule": lambda g, x: g / (1 + ops.exp(-x)),
    "jvp": lambda f, x, v: md.jacobian(f)(x) @ v,
    "finite_differences": lambda f, x: np.array(
        [
            (f(x + 1e-6 * e.reshape(x.shape)) - f(x - 1e-6 * e.reshape(x.shape))) / 2e-6
            for e in np.eye(x.size)
        ]
    ).reshape(x.shape),
    "complex_step": lambda f, x: np.imag(f(x + 1e-200j)) * 1e200,
    "is_gradient": directions,
    "convolve": convolve_by_windows,
    "convolve_dx": dx_by_padding,
    "convolve_dw": dw_by_einsum,
    "convolution_loop": loop_with_a_sum,
    "winograd": winograd_by_matrices,
    "q_sample": one_by_one,
    "posterior_mean": mixture,
    "score_from_x0": lambda x, x0, alpha, sigma: (alpha * x0 - x) / (1 - alpha**2),
    "v_target": lambda x0, noise, alpha, sigma: (
        (noise - sigma * (alpha * x0 + sigma * noise)) / alpha
    ),
    "cosine_schedule": lambda T: np.array(
        [
            (1 + np.cos((t / T + 0.008) / 1.008 * np.pi)) / (1 + np.cos(0.008 / 1.008 * np.pi))
            for t in range(T + 1)
        ]
    ),
    "clipped": lambda x, x0, noise, alpha, sigma: (
        np.minimum(np.maximum(x0, -1), 1),
        noise + alpha / sigma * (x0 - np.clip(x0, -1, 1)),
    ),
    "ddim_step": ddim_from_x,
    "ddpm_step": ddpm_by_posterior,
    "two_m_step": two_m_by_exponentials,
    "training_loss": loss_by_q_sample,
    "label_dropout": hidden_in_a_copy,
    "guided_noise": lambda denoise, x, t, labels, scale: (
        scale * denoise(x, t, labels).noise + (1 - scale) * denoise(x, t).noise
    ),
    "guidance_interval": lambda t, scale, low, high: diffusion.guidance.interval(scale, low, high)(
        t
    ),
    "ema_update": lambda average, weights, decay: {
        name: w + decay * (average[name] - w) for name, w in weights.items()
    },
    "adam_step": adam_of_the_paper,
    "frechet_distance": distance_by_roots,
    "recognised": lambda scores, labels: float((scores.argmax(-1) == labels - 1).mean()),
    "scaled_images": lambda images: (
        (images / 255 * 2 - 1).astype(np.float32).reshape(*images.shape, 1)
    ),
    "rms_norm": ops.rms_norm,
}
