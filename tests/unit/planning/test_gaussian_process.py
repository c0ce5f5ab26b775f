"""The models behind Bayesian planning."""

import math
import random

import numpy as np
import planning_models  # noqa: F401 - before anything that imports botorch
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from renkei.model.space import Choice, Constraint, Objective, Observation, Real, Space
from renkei.planning import _surrogate
from renkei.planning._feasibility import Feasibility, fit_feasibility
from renkei.planning._gp import MAX_FIT_ROWS, ParameterKernel, evenly, fit, marginals, matern, squared_distances
from renkei.planning._history import History, Scale
from renkei.planning._rows import RowCodec
from renkei.planning._surrogate import Surrogate, alone

OWNER = torch.tensor([0, 1])


def grid(n: int) -> torch.Tensor:
    """Return n^2 rows on the unit square."""
    side = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    return torch.cartesian_prod(side, side)


def history(xs: list[float], codec: RowCodec | None = None) -> History:
    found = History(codec or RowCodec(Space((Real("x", 0.0, 1.0),))), ["f"])
    for x in xs:
        found.add(Observation({"x": x}, outputs={"f": (x - 0.3) ** 2}))
    return found


def test_the_kernel_is_matern_five_halves():
    distance = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    r = math.sqrt(5.0) * distance
    assert torch.allclose(matern(distance**2), (1 + r + r**2 / 3) * torch.exp(-r))
    kernel = ParameterKernel(OWNER, 2).double()
    kernel.lengthscale = torch.tensor([0.5, 2.0])
    rows = grid(3)
    scaled = rows / torch.tensor([0.5, 2.0])
    expected = matern(torch.cdist(scaled, scaled) ** 2)
    assert torch.allclose(kernel(rows).to_dense(), expected, atol=1e-7)
    assert torch.allclose(kernel(rows, rows, diag=True), torch.ones(9, dtype=torch.float64))


def test_a_choice_has_one_lengthscale_and_its_values_are_all_alike():
    codec = RowCodec(Space((Choice("c", ("a", "b", "d")), Real("x", 0.0, 1.0))))
    kernel = ParameterKernel(torch.from_numpy(codec.owner), codec.n_parameters).double()
    kernel.lengthscale = torch.tensor([0.7, 1.0])
    rows = torch.from_numpy(codec.rows([{"c": c, "x": 0.5} for c in "abd"]))
    covariance = kernel(rows).to_dense()
    other = float(matern(torch.tensor(1 / 0.7**2)))
    assert torch.allclose(covariance, torch.eye(3).double() * (1 - other) + other, atol=1e-6)


def test_a_fit_goes_through_exact_values_and_knows_which_parameter_matters():
    rows = grid(6)
    values = torch.sin(5 * rows[:, 0])
    values = (values - values.mean()) / values.std()
    with alone(0):
        model, size = fit(rows, values, torch.full_like(values, 1e-6), OWNER)
        assert torch.allclose(size * model.posterior(rows).mean.squeeze(-1), values, atol=0.02)
        lengths = model.covar_module.lengthscale.squeeze()
        unseen = model.posterior(torch.tensor([[0.37, 0.61]], dtype=torch.float64))
    assert lengths[1] > 4 * lengths[0]
    expected = (math.sin(5 * 0.37) - torch.sin(5 * rows[:, 0]).mean()) / torch.sin(5 * rows[:, 0]).std()
    assert abs(size * float(unseen.mean) - float(expected)) < 0.05


def test_noise_is_learned_where_it_is_not_known():
    rows = grid(8)
    noise = torch.from_numpy(np.random.default_rng(1).normal(0.0, 0.5, 64))
    with alone(0):
        model, size = fit(rows, math.sqrt(0.75 * 12) * (rows[:, 0] - 0.5) + noise, None, OWNER)
    assert 0.15 < size**2 * float(model.likelihood.noise.mean()) < 0.45  # The truth is 0.25.


def test_a_fit_uses_rows_from_all_over_a_long_history():
    assert evenly(5).tolist() == [0, 1, 2, 3, 4]
    places = evenly(10 * MAX_FIT_ROWS)
    assert len(places) == MAX_FIT_ROWS
    assert (places[0], places[-1]) == (0, 10 * MAX_FIT_ROWS - 1)
    assert int(places.diff().max()) <= 11


def test_marginals_are_those_of_the_posterior():
    rows = grid(5)
    values = torch.sin(5 * rows[:, 0]) + rows[:, 1]
    noise = torch.linspace(0.01, 0.3, 25, dtype=torch.float64)
    asked = torch.rand((7, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for variance in (None, noise):
        with alone(0):
            model, _ = fit(rows, values - values.mean(), variance, OWNER)
            posterior = model.posterior(asked)
            mean, deviation = marginals(model)(asked)
        assert torch.allclose(mean, posterior.mean.squeeze(-1), atol=1e-4)
        assert torch.allclose(deviation.square(), posterior.variance.squeeze(-1), atol=1e-4)


def test_distances_keep_their_digits_far_from_the_origin():
    near = grid(3)
    assert torch.allclose(squared_distances(near + 1e6, near + 1e6), torch.cdist(near, near).square(), atol=1e-8)


def works_to_the_right(n: int) -> Feasibility:
    rows = grid(n)
    with alone(0):
        return fit_feasibility(rows, rows[:, 0] > 0.5, OWNER)


def test_feasibility_is_learned_and_holds_beyond_the_data():
    learned = works_to_the_right(5)
    ask = torch.tensor([[0.9, 0.3], [0.1, 0.7], [0.5, 0.5], [-0.3, 0.5], [1.3, 0.5]], dtype=torch.float64)
    right, left, edge, far_left, far_right = learned.log_probability(ask).exp().tolist()
    assert right > 0.85
    assert left < 0.15
    assert left < edge < right
    assert far_left < 0.4
    assert far_right > 0.6
    assert learned.lengthscale[1] > 2 * learned.lengthscale[0]


def test_feasibility_has_the_gradient_that_it_has():
    learned = works_to_the_right(4)
    rows = torch.tensor([[0.45, 0.2], [0.62, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(learned.log_probability, rows)


def test_a_single_failure_does_not_condemn_the_space():
    chance = random.Random(1)
    rows = torch.tensor([[chance.random(), chance.random()] for _ in range(20)], dtype=torch.float64)
    works = torch.arange(20) != 7
    with alone(0):
        learned = fit_feasibility(rows, works, OWNER)
    probability = learned.log_probability(rows).exp()
    assert probability.argmin() == 7
    assert float(probability.median()) > 0.85


def test_positive_values_over_decades_are_modelled_in_the_logarithm():
    decades = np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0])
    scale = Scale.fit(decades, may_log=True)
    assert scale.log
    assert np.allclose(np.diff(scale.scaled(decades)), scale.scaled(decades)[1] - scale.scaled(decades)[0])
    assert scale.bound(0.1) == pytest.approx(scale.scaled(np.array([0.1]))[0])
    assert scale.bound(0.0) == scale.bound(-1.0) == -math.inf
    assert scale.bound(math.inf) == math.inf
    # One percent is the same step everywhere on a log scale.
    assert np.allclose(scale.noise(decades, 0.01 * decades), 0.01 / scale.spread)


@pytest.mark.parametrize(
    "values", [[-1e-3, 1e-2, 1e-1, 1.0, 10.0], [1.0, 2.0, 3.0], [1e-3, 1e3, 1e3, 1e3, 0.99e3, 1.01e3]]
)
def test_other_values_are_modelled_as_they_are(values: list[float]):
    assert not Scale.fit(np.array(values), may_log=True).log
    assert not Scale.fit(np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0]), may_log=False).log


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [1e308, -1e308, 0.0], [5e-324, 0.0]])
def test_scaled_values_are_finite(values: list[float]):
    scaled = Scale.fit(np.array(values), may_log=False).scaled(np.array(values))
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() < 2.0


def test_a_long_history_is_thinned_to_its_best_and_an_even_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_surrogate, "MAX_ROWS", 20)
    xs = [i / 199 for i in range(200)]
    with alone(0):
        surrogate = Surrogate(history(xs), [Objective("f")], [])
        kept = surrogate.models[0].train_inputs[0][:, 0]  # pyright: ignore
    assert surrogate.n_rows == len(kept) == 20
    assert ((kept - 0.3).abs() < 0.03).sum() >= 10  # The ten best are the ten next to the optimum.
    assert kept[0] == 0.0
    assert kept[-1] == 1.0
    assert float(kept.diff().max()) < 0.15


def test_the_best_trials_are_those_that_meet_constraints_then_those_of_low_loss():
    with alone(0):
        surrogate = Surrogate(history([0.0, 0.3, 0.5, 0.9]), [Objective("f")], [Constraint("f", lower=0.03)])
    assert surrogate.best_rows[:, 0].tolist() == [0.5, 0.0, 0.9, 0.3]


def test_points_on_their_way_promise_nothing_more_however_many_they_are():
    with alone(0):
        surrogate = Surrogate(history([0.0, 0.2, 0.45, 0.7, 1.0]), [Objective("f")], [])
        free = surrogate.acquisition(np.zeros((0, 1)), 1)
        rows = torch.linspace(0.21, 0.44, 24, dtype=torch.float64).reshape(-1, 1, 1)
        best = rows[free(rows).argmax()]
        for n in (1, 32, 33, 200):
            elsewhere = np.linspace(0.9, 1.0, n - 1)[:, None]
            busy = surrogate.acquisition(np.concatenate([best.numpy(), elsewhere]), 1)
            assert float(busy(best[None])) < float(free(best[None])) - 1.0


def test_two_objectives_know_more_pending_points_than_are_sampled_jointly():
    found = History(RowCodec(Space((Real("x", 0.0, 1.0),))), ["f", "g"])
    for x in (0.0, 0.2, 0.5, 0.8, 1.0):
        found.add(Observation({"x": x}, outputs={"f": x**2, "g": (x - 1.0) ** 2}))
    with alone(0):
        surrogate = Surrogate(found, [Objective("f"), Objective("g")], [])
        ask = torch.tensor([[[0.35]]], dtype=torch.float64)
        pending = np.concatenate([[[0.35]], np.linspace(0.9, 1.0, 39)[:, None]])
        free, busy = (surrogate.acquisition(rows, 1) for rows in (pending[:0], pending))
        assert float(busy(ask)) < float(free(ask)) - 1.0


def test_what_calculates_keeps_to_one_thread_and_leaves_others_as_they_were() -> None:
    def threads() -> list[int]:
        return [int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        with alone(1):
            assert set(threads()) == {1}
        assert threads() == before
        assert set(before) == {2}
