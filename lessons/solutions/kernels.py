"""Solutions of lesson 4's exercises."""

import numpy as np


def convolve(x, w):
    taps_down, taps_across, _, outputs = w.shape
    rows = x.shape[1] - taps_down + 1
    columns = x.shape[2] - taps_across + 1
    y = np.zeros((len(x), rows, columns, outputs), x.dtype)
    for u in range(taps_down):
        for v in range(taps_across):
            y += x[:, u : u + rows, v : v + columns] @ w[u, v]
    return y


def convolve_dx(g, w):
    taps_down, taps_across, inputs, _ = w.shape
    n, rows, columns, _ = g.shape
    dx = np.zeros((n, rows + taps_down - 1, columns + taps_across - 1, inputs), g.dtype)
    for u in range(taps_down):
        for v in range(taps_across):
            dx[:, u : u + rows, v : v + columns] += g @ w[u, v].T
    return dx


def convolve_dw(x, g):
    _, rows, columns, outputs = g.shape
    inputs = x.shape[3]
    dw = np.empty((x.shape[1] - rows + 1, x.shape[2] - columns + 1, inputs, outputs), x.dtype)
    for u, v in np.ndindex(dw.shape[:2]):
        pixels = x[:, u : u + rows, v : v + columns].reshape(-1, inputs)
        dw[u, v] = pixels.T @ g.reshape(-1, outputs)
    return dw


def convolution_loop(x, w, y):
    images, rows, columns, outputs = y.shape
    taps_down, taps_across, inputs, _ = w.shape
    y[:] = 0
    for n in range(images):
        for i in range(rows):
            for j in range(columns):
                for u in range(taps_down):
                    for v in range(taps_across):
                        for c in range(inputs):
                            for o in range(outputs):
                                y[n, i, j, o] += x[n, i + u, j + v, c] * w[u, v, c, o]


def winograd(d, g):
    a = (d[0] - d[2]) * g[0]
    b = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / 2)
    c = (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / 2)
    e = (d[1] - d[3]) * g[2]
    return a + b + c, b - c - e
