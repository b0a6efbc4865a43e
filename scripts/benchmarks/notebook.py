"""The course's notebook as a plain NumPy float64 script: what catclf is measured against.

notebook.py TRAIN.h5 TEST.h5 [STEPS]
"""

import sys

import h5py
import numpy as np
from numpy.typing import NDArray


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-z)))


with h5py.File(sys.argv[1]) as file:
    train_x, train_y = file["train_set_x"][:], file["train_set_y"][:].reshape(1, -1)
with h5py.File(sys.argv[2]) as file:
    test_x, test_y = file["test_set_x"][:], file["test_set_y"][:].reshape(1, -1)
X = train_x.reshape(train_x.shape[0], -1).T / 255
X_test = test_x.reshape(test_x.shape[0], -1).T / 255
m = X.shape[1]
w, b = np.zeros((X.shape[0], 1)), 0.0
for step in range(int(sys.argv[3]) if len(sys.argv) > 3 else 2000):
    A = sigmoid(w.T @ X + b)
    cost = -np.sum(train_y * np.log(A) + (1 - train_y) * np.log(1 - A)) / m
    dw = X @ (A - train_y).T / m
    db = np.sum(A - train_y) / m
    w = w - 0.005 * dw
    b = b - 0.005 * db
    if step % 100 == 0:
        print(f"step {step}  cost {cost:.6f}")
print("train", np.mean((sigmoid(w.T @ X + b) > 0.5) == train_y))
print("test", np.mean((sigmoid(w.T @ X_test + b) > 0.5) == test_y))
