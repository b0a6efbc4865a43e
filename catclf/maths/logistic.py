"""The mathematics of logistic regression: arrays in, arrays out, nothing kept.

Letters as in the course: n features, m images, X (n, m), Y (1, m), w (n, 1), b a number,
Z = wᵀX + b and A = σ(Z), both (1, m). Every array is 2-D; a rank-1 array is an error, because its
transpose is itself and it broadcasts where nobody expects it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ShapeError

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

PIXEL_MAX = 255.0  # pixels are divided by this, so that features lie in [0, 1]


def require_2d(**arrays: NDArray[np.generic]) -> None:
    """Raise ShapeError unless every array has exactly two axes."""
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ShapeError(f"{name} has shape {array.shape}; two axes are needed, as in (n, m)")


def sigmoid(Z: Floats) -> Floats:
    """σ(Z) = 1 / (1 + e^-Z), any shape, without overflow for any Z.

    With t = e^-|Z|, which never exceeds 1: σ = 1/(1+t) where Z >= 0 and t/(1+t) elsewhere.
    """
    t = np.exp(-np.abs(Z))
    return np.where(Z >= 0, 1.0, t) / (1.0 + t)


def logit(p: float) -> float:
    """The score z with σ(z) = p: log(p / (1 - p)), -inf for p <= 0 and inf for p >= 1."""
    if p <= 0.0 or p >= 1.0:
        return math.copysign(math.inf, p - 0.5)
    return math.log(p / (1.0 - p))


def softmax(Z: Floats) -> Floats:
    """Softmax of each row of Z (rows, classes): e^z / Σ e^z, shifted by the row's largest z.

    The shift cancels in the quotient and keeps every exponent <= 0 (Goodfellow, Bengio and
    Courville, "Deep Learning", 2016, section 4.1). Raises ShapeError unless Z is 2-D.
    """
    require_2d(Z=Z)
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return np.asarray(E / E.sum(axis=1, keepdims=True))


def l1_loss(Yhat: Floats, Y: Floats) -> float:
    """L1 = Σ |y - ŷ| over all entries. Raises ShapeError when the shapes differ."""
    require_2d(Yhat=Yhat, Y=Y)
    _require_same_shape(Yhat, Y)
    return float(np.abs(Y - Yhat).sum())


def l2_loss(Yhat: Floats, Y: Floats) -> float:
    """L2 = Σ (y - ŷ)² over all entries. Raises ShapeError when the shapes differ."""
    require_2d(Yhat=Yhat, Y=Y)
    _require_same_shape(Yhat, Y)
    return float(np.square(Y - Yhat).sum())


def flatten(images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Images (m, h, w, c) as columns X (h*w*c, m): ``images.reshape(m, -1).T``, a view.

    ``reshape(-1, m)`` has the same shape but puts pixels of different images into one column.
    """
    if images.ndim != 4:
        raise ShapeError(f"images have shape {images.shape}; (m, height, width, 3) is needed")
    return images.reshape(len(images), math.prod(images.shape[1:])).T


def losses_and_errors(Z: Floats, Y: Floats) -> tuple[Floats, Floats]:
    """The loss of each image and its derivative dZ = A - Y, both of Z's shape.

    loss = log(1 + e^z) - y z, which equals -[y log a + (1-y) log(1-a)] but is finite for every
    finite z. With t = e^-|z|, log(1 + e^z) = max(z, 0) + log1p(t) and a = e^min(z, 0) / (1 + t).
    """
    t = np.exp(-np.abs(Z))
    losses = np.maximum(Z, 0.0)
    losses += np.log1p(t)
    losses -= Y * Z
    A = np.exp(np.minimum(Z, 0.0))
    A /= 1.0 + t
    A -= Y
    return losses, A


def cost(Z: Floats, Y: Floats) -> float:
    """J = mean(logaddexp(0, Z) - Y*Z), for Z and Y (1, m), without penalty."""
    require_2d(Z=Z, Y=Y)
    _require_same_shape(Z, Y)
    return float(losses_and_errors(Z, Y)[0].mean())


def cost_and_gradient(
    X: Floats, Y: Floats, w: Floats, b: float, l2: float = 0.0
) -> tuple[float, Floats, float]:
    """J, dw (n, 1) and db of one full batch, vectorized.

    J = mean(logaddexp(0, Z) - Y*Z) + (λ/2m)‖w‖²,  dw = (1/m) X dZᵀ + (λ/m) w,  db = (1/m) Σ dZ,
    for X (n, m), Y (1, m), w (n, 1); the bias is not penalised. Raises ShapeError otherwise.
    """
    _, m = _require_problem(X, Y, w)
    Z = w.T @ X + b  # (1, n) @ (n, m) = (1, m)
    losses, dZ = losses_and_errors(Z, Y)
    J = float(losses.mean()) + l2 / (2 * m) * float(np.square(w).sum())
    dw = X @ dZ.T / m + l2 / m * w  # (n, m) @ (m, 1) = (n, 1)
    return J, dw, float(dZ.mean())


def cost_and_gradient_loop(
    X: Floats, Y: Floats, w: Floats, b: float, l2: float = 0.0
) -> tuple[float, Floats, float]:
    """The same as ``cost_and_gradient``, as a loop over images and features.

    Slow on purpose: it is the second opinion on the vectorized form and what its speed is
    measured against, so nothing in it is vectorized.
    """
    n, m = _require_problem(X, Y, w)
    weights = [float(w[i, 0]) for i in range(n)]
    dw = [0.0] * n
    J = db = 0.0
    for j in range(m):
        x, y = X[:, j].tolist(), float(Y[0, j])
        z = b
        for i in range(n):
            z += weights[i] * x[i]
        t = math.exp(-abs(z))
        J += max(z, 0.0) + math.log1p(t) - y * z
        dz = (1.0 if z >= 0 else t) / (1.0 + t) - y
        for i in range(n):
            dw[i] += x[i] * dz
        db += dz
    penalty = 0.0
    for i in range(n):
        penalty += weights[i] ** 2
        dw[i] = dw[i] / m + l2 / m * weights[i]
    return J / m + l2 / (2 * m) * penalty, np.array(dw).reshape(n, 1), db / m


def _require_same_shape(first: Floats, second: Floats) -> None:
    if first.shape != second.shape:
        raise ShapeError(f"shapes {first.shape} and {second.shape} differ")


def _require_problem(X: Floats, Y: Floats, w: Floats) -> tuple[int, int]:
    """n and m of X (n, m); raises ShapeError unless Y is (1, m) and w is (n, 1)."""
    require_2d(X=X, Y=Y, w=w)
    n, m = X.shape
    if Y.shape != (1, m) or w.shape != (n, 1):
        raise ShapeError(f"X {X.shape} needs Y (1, {m}) and w ({n}, 1), not {Y.shape}, {w.shape}")
    return n, m
