"""Hand values, extreme values, other people's formulas; derivatives are in test_graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from catclf.errors import CatclfError, ShapeError
from catclf.maths import Floats, logistic

wild = settings(deadline=None, derandomize=True)
rows = arrays(np.float64, st.tuples(st.just(1), st.integers(1, 20)), elements=st.floats(-1e6, 1e6))

# The course's example for forward and backward propagation, with the results it prints.
X = np.array([[1.0, 2.0, -1.0], [3.0, 4.0, -3.2]])
Y = np.array([[1.0, 0.0, 1.0]])
W = np.array([[1.0], [2.0]])
B = 2.0

FORMS = [logistic.cost_and_gradient, logistic.cost_and_gradient_loop]
Form = Callable[..., tuple[float, Floats, float]]
both_forms = pytest.mark.parametrize("form", FORMS, ids=["vectorized", "loop"])


@wild
@given(rows)
def test_sigmoid_is_scipys_expit(Z: Floats) -> None:
    np.testing.assert_allclose(logistic.sigmoid(Z), special.expit(Z), rtol=1e-14)


def test_sigmoid_is_exact_at_its_extremes() -> None:
    Z = np.array([[-np.inf, -800.0, 0.0, 800.0, np.inf]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert logistic.sigmoid(Z).tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


@wild
@given(arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6)))
def test_softmax_is_scipys_by_rows(Z: Floats) -> None:
    np.testing.assert_allclose(logistic.softmax(Z), special.softmax(Z, axis=1), rtol=1e-12)


def test_flatten_is_a_view_without_a_copy() -> None:
    images = np.zeros((2, 2, 2, 3))
    logistic.flatten(images)[0, 1] = 7.0
    assert images[1, 0, 0, 0] == 7.0


TAKERS: dict[str, Callable[[Floats], object]] = {
    "require_2d": lambda v: logistic.require_2d(v=v),
    "softmax": logistic.softmax,
    "l1_loss": lambda v: logistic.l1_loss(v, v),
    "l2_loss": lambda v: logistic.l2_loss(v, v),
    "flatten": logistic.flatten,
    "cost, Z": lambda v: logistic.cost(v, Y),
    "cost, Y": lambda v: logistic.cost(Y, v),
    "vectorized, X": lambda v: logistic.cost_and_gradient(v, Y, W, B),
    "vectorized, Y": lambda v: logistic.cost_and_gradient(X, v, W, B),
    "vectorized, w": lambda v: logistic.cost_and_gradient(X, Y, v, B),
    "loop, X": lambda v: logistic.cost_and_gradient_loop(v, Y, W, B),
    "loop, Y": lambda v: logistic.cost_and_gradient_loop(X, v, W, B),
    "loop, w": lambda v: logistic.cost_and_gradient_loop(X, Y, v, B),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_a_rank_1_array_is_refused(taker: str) -> None:
    with pytest.raises(ShapeError, match=r"\(3,\)") as refusal:
        TAKERS[taker](np.array([0.1, 0.2, 0.3]))
    assert isinstance(refusal.value, CatclfError)


@both_forms
@pytest.mark.parametrize(
    ("y_shape", "w_shape"), [((3, 1), (2, 1)), ((1, 2), (2, 1)), ((1, 3), (1, 2)), ((1, 3), (3, 1))]
)
def test_shapes_that_do_not_fit_are_refused(
    form: Form, y_shape: tuple[int, int], w_shape: tuple[int, int]
) -> None:
    with pytest.raises(ShapeError):
        form(X, np.zeros(y_shape), np.zeros(w_shape), B)


@pytest.mark.parametrize("call", [logistic.cost, logistic.l1_loss, logistic.l2_loss])
def test_a_row_and_a_column_are_not_broadcast(call: Callable[[Floats, Floats], float]) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 3\) and \(3, 1\)"):
        call(Y, Y.T)


@pytest.mark.parametrize(("z", "wrong"), [(800.0, 0.0), (-800.0, 1.0)])
def test_cost_stays_finite_where_the_logarithm_of_a_does_not(z: float, wrong: float) -> None:
    Z = np.array([[z]])
    assert logistic.cost(Z, np.array([[wrong]])) == 800.0
    assert logistic.cost(Z, np.array([[1.0 - wrong]])) == 0.0


@wild
@given(rows)
def test_losses_and_errors_match_logaddexp_and_expit(Z: Floats) -> None:
    labels = np.arange(Z.size, dtype=np.float64).reshape(Z.shape) % 2
    losses, dZ = logistic.losses_and_errors(Z, labels)
    np.testing.assert_allclose(losses, np.logaddexp(0.0, Z) - labels * Z, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(dZ, special.expit(Z) - labels, rtol=1e-12, atol=1e-15)


@both_forms
def test_a_hundred_steps_of_descent_give_the_numbers_the_course_prints(form: Form) -> None:
    w, b = W, B
    for step in range(100):
        J, dw, db = form(X, Y, w, b)
        if step == 0:
            assert pytest.approx(5.801545319394553, rel=1e-12) == J
            np.testing.assert_allclose(dw, [[0.99845601], [2.39507239]], atol=5e-9)
            assert db == pytest.approx(0.00145557813678, abs=5e-13)
        w, b = w - 0.009 * dw, b - 0.009 * db
    np.testing.assert_allclose(w, [[0.19033591], [0.12259159]], atol=5e-9)
    assert b == pytest.approx(1.92535983008, abs=5e-11)


@both_forms
def test_the_penalty_adds_its_formula_and_spares_the_bias(form: Form) -> None:
    J, dw, db = form(X, Y, W, B)
    J6, dw6, db6 = form(X, Y, W, B, l2=6.0)
    np.testing.assert_allclose(J6 - J, 6 / (2 * 3) * (1 + 4), rtol=1e-12)
    np.testing.assert_allclose(dw6 - dw, 6 / 3 * W, rtol=1e-12)
    assert db6 == db


@wild
@given(
    n=st.integers(1, 6),
    m=st.integers(1, 6),
    l2=st.sampled_from([0.0, 0.7, 100.0]),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_vectorized_is_loop(n: int, m: int, l2: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = scale * rng.standard_normal((n, m)), rng.standard_normal((n, 1))
    y = rng.integers(0, 2, (1, m)).astype(float)
    J, dw, db = logistic.cost_and_gradient(x, y, w, 0.3, l2)
    slow_J, slow_dw, slow_db = logistic.cost_and_gradient_loop(x, y, w, 0.3, l2)
    assert pytest.approx(slow_J, rel=1e-10, abs=1e-12 * scale) == J
    np.testing.assert_allclose(dw, slow_dw, rtol=1e-10, atol=1e-12 * scale)
    assert db == pytest.approx(slow_db, rel=1e-10, abs=1e-12)


def test_inputs_are_not_changed() -> None:
    x, y, w, images = X.copy(), Y.copy(), W.copy(), np.zeros((1, 2, 2, 3))
    for array in (x, y, w, images):
        array.flags.writeable = False  # writing into it would raise
    for form in FORMS:
        form(x, y, w, B, 1.0)
    for call in (logistic.losses_and_errors, logistic.cost, logistic.l1_loss, logistic.l2_loss):
        call(y, y)
    logistic.sigmoid(x)
    logistic.softmax(x)
    logistic.flatten(images)
