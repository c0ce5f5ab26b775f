"""The acquisition against brute force: outputs drawn jointly, and the improvement counted in every draw."""

# pyright: basic, reportPrivateImportUsage=false
# torch ships no complete types.

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from planning_models import SingleTaskGP

from renkei.model.space import Constraint, Objective, Observation, Real, Space
from renkei.planning import _improvement, hypervolume
from renkei.planning._history import History, Scale
from renkei.planning._rows import RowCodec
from renkei.planning._surrogate import Surrogate, alone

ASKED = np.array([[0.3], [0.5], [0.62], [0.8]])
LOSS = Objective("f")

assert SingleTaskGP  # Its import silences the warnings of torch's.


def surrogate(
    objectives: Sequence[Objective], constraints: Sequence[Constraint] = (), noise: float = 0.2, **outputs: list[float]
) -> Surrogate:
    """Return models of outputs at even steps from 0 to 1."""
    names = dict.fromkeys([o.output for o in objectives] + [c.output for c in constraints])
    history = History(RowCodec(Space((Real("x", 0.0, 1.0),))), list(names))
    n = len(next(iter(outputs.values())))
    for i in range(n):
        values = {name: column[i] for name, column in outputs.items()}
        history.add(Observation({"x": i / (n - 1)}, outputs=values, noise=dict.fromkeys(values, noise)))
    with alone(0):
        return Surrogate(history, objectives, constraints)


def found(model: Surrogate, pending: Sequence[float] = ()) -> np.ndarray:
    with alone(0), torch.no_grad():
        acquisition = model.acquisition(np.array(pending).reshape(-1, 1), 3)
        return acquisition(torch.from_numpy(ASKED).unsqueeze(1)).exp().numpy()


def drawn(
    model: Surrogate, pending: Sequence[float], improvement: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the mean improvement of each asked point over trials and pending points, in joint draws.

    Args:
        model: Of the outputs.
        pending: Points on their way.
        improvement: From outputs at a point, n_draws x n_outputs, and at what is known already, n_draws x n_known x
            n_outputs.
    """
    chance = np.random.default_rng(1)
    places = np.concatenate([model.best_rows, np.array(pending).reshape(-1, 1), ASKED])
    samples: list[np.ndarray] = []
    for process in model._processes:
        with torch.no_grad():
            at = torch.from_numpy(places)
            known = process.inverse @ process.covariance(process.rows, at)
            mean = (process.mean + known.T @ process.whitened).numpy()
            spread = (process.covariance(at, at) - known.T @ known).numpy() + 1e-9 * np.eye(len(at))
        samples.append(chance.multivariate_normal(mean, spread, 20_000, method="cholesky"))
    outputs, n = np.stack(samples, axis=-1), len(ASKED)
    return np.array([improvement(outputs[:, at], outputs[:, :-n]).mean() for at in range(-n, 0)])


def scale(model: Surrogate, name: str) -> Scale:
    return model._goals._scales[name]


def size(model: Surrogate, name: str) -> float:
    """Return how much of an output's own spread a unit of the modelled output is."""
    return scale(model, name).spread / scale(model, name).plain[1]


@pytest.fixture(autouse=True)
def many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner takes few samples, whose error is some percent; here it is to be small."""
    monkeypatch.setattr(_improvement, "_N_SAMPLES_ONE", 4096)
    monkeypatch.setattr(_improvement, "_N_SAMPLES_SEVERAL", 2048)


WAVE = [1.0, 0.3, 0.1, 0.4, 0.2]


@pytest.mark.parametrize("pending", [[], [0.62, 0.9]])
def test_the_improvement_of_one_objective(pending: list[float]):
    model = surrogate([LOSS], f=WAVE)
    expected = drawn(model, pending, lambda new, old: np.maximum(old[..., 0].min(axis=1) - new[:, 0], 0.0))
    assert found(model, pending) == pytest.approx(expected, rel=0.1, abs=5e-4)


def test_the_improvement_where_a_constraint_holds():
    model = surrogate([LOSS], [Constraint("g", upper=0.3)], f=WAVE, g=[0.0, 0.2, 0.6, 0.1, 0.2])
    bound = scale(model, "g").bound(0.3)

    def improvement(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        best = np.where(old[..., 1] <= bound, old[..., 0], np.inf).min(axis=1)
        return np.where(new[:, 1] <= bound, np.maximum(np.minimum(best, 3.0) - new[:, 0], 0.0), 0.0)

    assert found(model, [0.7]) == pytest.approx(drawn(model, [0.7], improvement), rel=0.1, abs=5e-4)


def test_the_improvement_of_the_distance_from_a_target():
    model = surrogate([Objective("f", "target", target=0.25)], f=WAVE)
    aim = scale(model, "f").bound(0.25)

    def improvement(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.maximum(np.abs(old[..., 0] - aim).min(axis=1) - np.abs(new[:, 0] - aim), 0.0)

    expected = size(model, "f") * drawn(model, [], improvement)
    assert found(model) == pytest.approx(expected, rel=0.1, abs=5e-4)


def test_the_improvement_of_an_objective_that_has_a_bound():
    model = surrogate([LOSS], [Constraint("f", lower=0.15)], f=WAVE)
    bound = scale(model, "f").bound(0.15)

    def improvement(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        best = np.where(old[..., 0] >= bound, old[..., 0], np.inf).min(axis=1)
        return np.where(new[:, 0] >= bound, np.maximum(np.minimum(best, 3.0) - new[:, 0], 0.0), 0.0)

    assert found(model) == pytest.approx(drawn(model, [], improvement), rel=0.1, abs=5e-4)


@pytest.mark.parametrize("pending", [[], [0.62]])
def test_the_improvement_of_the_hypervolume(pending: list[float]):
    model = surrogate([LOSS, Objective("g", "maximize")], f=WAVE, g=[0.9, 0.1, 0.0, 0.3, 0.1])
    worst, span = (part.numpy() for part in model._frame)
    units = np.array([size(model, "f"), -size(model, "g")])

    def improvement(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        gained: list[float] = []
        for point, known in zip(new[:1500] * units, old[:1500] * units, strict=True):
            before, after = known.tolist(), [*known.tolist(), point.tolist()]
            gained.append(hypervolume(after, worst.tolist()) - hypervolume(before, worst.tolist()))
        return np.array(gained)

    # The mean over directions is the hypervolume but for a constant: that of a quarter of the unit circle.
    volumes = found(model, pending) * float(np.prod(span)) * math.pi / 4
    assert volumes == pytest.approx(drawn(model, pending, improvement), rel=0.1, abs=1e-3)


def test_a_gradient_leads_to_the_largest_improvement():
    model = surrogate([LOSS, Objective("g", "maximize")], f=WAVE, g=[0.9, 0.1, 0.0, 0.3, 0.1])
    with alone(0):
        acquisition = model.acquisition(np.zeros((0, 1)), 3)
        at = torch.tensor([[[0.62]]], dtype=torch.float64, requires_grad=True)
        acquisition(at).sum().backward()
        with torch.no_grad():
            step = float(acquisition(at + 1e-6).sum() - acquisition(at - 1e-6).sum()) / 2e-6
    assert at.grad is not None
    assert float(at.grad) == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize("bend", [np.exp, lambda x: -np.exp(-x), lambda x: np.exp(3.0 * x) + 5.0, lambda x: x])
def test_outputs_are_bent_until_they_look_normal(bend: Callable[[np.ndarray], np.ndarray]):
    normal = np.random.default_rng(2).standard_normal(200)
    values = bend(normal)
    fitted = Scale.fit(values, may_log=True)
    scaled = fitted.scaled(values)
    assert abs(float(np.mean(scaled**3))) < 0.6
    assert np.corrcoef(scaled, normal)[0, 1] > 0.93
    assert [fitted.bound(v) for v in values[:9].tolist()] == pytest.approx(scaled[:9].tolist())
    # Noise follows the slope.
    step = 1e-6 * np.abs(values)
    slope = (fitted.scaled(values + step) - fitted.scaled(values - step)) / (2 * step)
    assert fitted.noise(values, np.ones(200)) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("bad", [1, -1])
def test_a_few_wild_values_on_the_bad_side_leave_the_rest_apart(bad: int):
    values = np.append(np.linspace(0.0, 1.0, 40), [bad * 1e6, bad * 1e9])
    scaled = Scale.fit(values, may_log=True, bad=bad).scaled(values)
    assert np.ptp(scaled[:40]) > 2.0
    assert np.abs(scaled).max() < 5.0
    assert scaled[-1] * bad >= np.max(scaled[:40] * bad)


def test_losses_of_several_objectives_are_not_bent():
    chance = np.random.default_rng(0)
    skewed = np.exp(2.0 * chance.standard_normal(30))
    model = surrogate([LOSS, Objective("g")], f=skewed.tolist(), g=(1.0 / skewed).tolist())
    assert scale(model, "f").log or scale(model, "f").power != 1.0
    scaled = np.column_stack([scale(model, name).scaled(v) for name, v in (("f", skewed), ("g", 1.0 / skewed))])
    losses = model._goals.losses(torch.from_numpy(scaled)).numpy()
    assert losses[:, 0] == pytest.approx((skewed - skewed.mean()) / skewed.std(), abs=1e-6)
    ends = model._goals.intervals(torch.from_numpy(losses))
    high = ends[0][1]
    assert high is not None
    assert high.numpy() == pytest.approx(scaled[:, 0], abs=1e-6)
