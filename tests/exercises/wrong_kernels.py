"""Typical wrong answers to lesson 4's exercises, each with words of the message that it gets."""

import numpy as np


def taps(x, w, add=True, less=0, flipped=False):
    down, across = w.shape[:2]
    rows = x.shape[1] - down + 1
    columns = x.shape[2] - across + 1
    y = np.zeros((len(x), rows, columns, w.shape[3]))
    for u, v in list(np.ndindex(down, across))[: down * across - less]:
        share = x[:, u : u + rows, v : v + columns] @ (w[::-1, ::-1] if flipped else w)[u, v]
        y = y + share if add else share
    return y


def padded(x, w):
    down, across = w.shape[:2]
    return taps(np.pad(x, ((0, 0), (0, down - 1), (0, across - 1), (0, 0))), w)


def in_python(x, w):
    y = np.zeros((len(x), x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1, w.shape[3]))
    loops(x, w, y)
    return y


def back(g, w, add=True, transposed=True, mirrored=False):
    down, across, inputs, _ = w.shape
    n, rows, columns, _ = g.shape
    dx = np.zeros((n, rows + down - 1, columns + across - 1, inputs))
    for u, v in np.ndindex(down, across):
        share = g @ (w[u, v].T if transposed else w[u, v])
        i = down - 1 - u if mirrored else u
        j = across - 1 - v if mirrored else v
        place = np.s_[:, i : i + rows, j : j + columns]
        dx[place] = dx[place] + share if add else share
    return dx


def of_weights(x, g):
    _, rows, columns, outputs = g.shape
    inputs = x.shape[3]
    dw = np.zeros((x.shape[1] - rows + 1, x.shape[2] - columns + 1, inputs, outputs))
    for u, v in np.ndindex(dw.shape[:2]):
        pixels = x[:, u : u + rows, v : v + columns].reshape(-1, inputs)
        dw[u, v] = pixels.T @ g.reshape(-1, outputs)
    return dw


def loops(x, w, y, start=0.0, columns_less=0, taps_less=0):
    if start is not None:
        y[:] = start
    n, rows, columns, outputs = y.shape
    for place in np.ndindex(n, rows, columns - columns_less):
        image, i, j = place
        for u in range(w.shape[0] - taps_less):
            for v in range(w.shape[1] - taps_less):
                for c in range(w.shape[2]):
                    for o in range(outputs):
                        y[image, i, j, o] += x[image, i + u, j + v, c] * w[u, v, c, o]


def last_column_forgotten(x, w, y):
    y[:, :, :-1] = 0
    loops(x, w, y, start=None, columns_less=1)


def last_tap_forgotten(x, w, y):
    y[:] = in_python(x, w) - x[:, w.shape[0] - 1 :, w.shape[1] - 1 :] @ w[-1, -1]


def not_for_numba(x, w, y):
    y[:] = sum(
        x[:, u : u + y.shape[1], v : v + y.shape[2]] @ w[u, v] for u, v in np.ndindex(w.shape[:2])
    )


def products(d, g, e_sign=-1, c_sign=-1, half=2):
    a = (d[0] - d[2]) * g[0]
    b = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / half)
    c = (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / half)
    e = (d[1] - d[3]) * g[2]
    return a + b + c, b + c_sign * c + e_sign * e


def six(d, g):
    return d[0] * g[0] + d[1] * g[1] + d[2] * g[2], d[1] * g[0] + d[2] * g[1] + d[3] * g[2]


WRONG = {
    "convolve": [
        (lambda x, w: taps(x, w, flipped=True), "upside down"),
        (lambda x, w: taps(x, w, add=False), "last tap alone"),
        (lambda x, w: taps(x, w, less=1), "last tap is missing"),
        (lambda x, w: taps(x, w) / w[..., 0, 0].size, "mean of the taps"),
        (padded, "there is no padding"),
        (in_python, "only"),
    ],
    "convolve_dx": [
        (lambda g, w: back(g, w, add=False), "shares are added"),
        (lambda g, w: back(g, w, transposed=False), "is to be transposed"),
        (lambda g, w: back(g, w, mirrored=True), "lie mirrored"),
        (lambda g, w: back(g, w)[:, :-1], "has the shape"),
        (lambda g, w: -back(g, w), "sign is turned"),
    ],
    "convolve_dw": [
        (lambda x, g: of_weights(x, g) / len(x), "mean over the images"),
        (lambda x, g: of_weights(x, g) / g[..., 0].size, "mean over the pixels"),
        (lambda x, g: of_weights(x[:1], g[:1]), "first image alone"),
        (lambda x, g: of_weights(x, g)[::-1, ::-1], "upside down"),
        (lambda x, g: of_weights(x, g).swapaxes(2, 3), "Inputs and outputs are exchanged"),
    ],
    "convolution_loop": [
        (lambda x, w, y: loops(x, w, y, start=None), "Write 0 there first"),
        (last_column_forgotten, "was never written: a loop is too short"),
        (last_tap_forgotten, "last tap is missing"),
        (lambda x, w, y: loops(x, w[::-1, ::-1], y), "upside down"),
        (lambda x, w, y: in_python(x, w), "Write 0 there first"),
        (not_for_numba, "Numba cannot compile it"),
    ],
    "winograd": [
        (lambda d, g: products(d, g, e_sign=1), "sign of the last product"),
        (lambda d, g: products(d, g, c_sign=1), "sign of the third product"),
        (lambda d, g: products(d, g, half=1), "are to be halved"),
        (lambda d, g: six(d, g)[::-1], "The two are exchanged"),
        (six, "by 6 products"),
    ],
}
