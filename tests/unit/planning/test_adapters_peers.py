"""What Optuna, Ax, PHYSBO and NIMO are told, each where it is installed."""

# pyright: basic, reportMissingImports=false

import csv
import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

from renkei.errors import UsageError
from renkei.model.space import (
    Choice,
    Constraint,
    Integer,
    Objective,
    Observation,
    ParameterConstraint,
    Real,
    Space,
)
from renkei.planning._design import derived_seed
from renkei.planning.adapters.ax import AxPlanner
from renkei.planning.adapters.nimo import NimoPlanner
from renkei.planning.adapters.optuna import OptunaPlanner
from renkei.planning.adapters.physbo import PhysboPlanner

PLANE = Space((Real("x", -1.0, 1.0), Real("t", 1e-3, 1e3, log=True)))
MIXED = Space((Real("x", -1.0, 1.0), Integer("n", 1, 64, log=True), Choice("c", (True, 1, "a"))))
POOL = Space(
    (Real("x", 0.0, 1.0), Choice("c", ("a", "b"))), tuple({"x": i / 9, "c": c} for i in range(10) for c in "ab")
)
LOW = [Objective("f")]


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"not installed: {package}")


def imported(name: str) -> Any:
    """Import a package, whatever it says of others."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


# ---- Optuna


def study_of(planner: OptunaPlanner, monkeypatch: pytest.MonkeyPatch, **ask: Any) -> Any:
    """Return the study that a planner makes for an ask."""
    optuna = imported("optuna")

    studies: list[Any] = []
    create_study = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **more: studies.append(create_study(**more)) or studies[-1])
    planner.ask(1, **ask)
    return studies[-1]


@needs("optuna")
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_optuna_is_told_every_trial_in_its_own_words(sampler: str, monkeypatch: pytest.MonkeyPatch):
    objectives = [Objective("f", "maximize"), Objective("g", "target", 1.0)]
    constraints = [Constraint("h", 0.0, 5.0), Constraint("g", upper=2.0)]
    planner = OptunaPlanner(MIXED, objectives, constraints=constraints, sampler=sampler)
    planner.tell(
        [
            Observation({"x": 0.5, "n": 3, "c": 1}, outputs={"f": 2.0, "g": 4.0, "h": 6.0}),
            Observation({"x": 0.1, "n": 4, "c": True}, "infeasible"),
            Observation({"x": 0.2, "n": 5, "c": "a"}, "abandoned"),
        ]
    )
    study = study_of(planner, monkeypatch, pending=[{"x": 0.3, "n": 6, "c": "a"}])
    trials = study.trials[:4]
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert [t.params for t in trials] == [
        {"x": 0.5, "n": 3, "c": 1},
        {"x": 0.1, "n": 4, "c": 0},
        {"x": 0.2, "n": 5, "c": 2},
        {"x": 0.3, "n": 6, "c": 2},
    ]
    assert trials[0].values == [-2.0, 3.0]
    assert list(trials[0].constraints.values()) == [-6.0, 1.0, 2.0]
    assert [d.name for d in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert trials[0].distributions["n"].log


@needs("optuna")
@needs("cmaes")
@pytest.mark.parametrize("sampler", ["cmaes", "nsga2", "qmc"])
def test_a_sampler_that_keeps_notes_goes_on_as_in_a_study_of_its_own(sampler: str):
    optuna = imported("optuna")

    def f(x: float, t: float) -> float:
        return (x - 0.3) ** 2 + t / 1e3

    kind = {"cmaes": optuna.samplers.CmaEsSampler, "nsga2": optuna.samplers.NSGAIISampler}.get(sampler)
    settings = {"population_size": 4} if sampler == "nsga2" else {}
    more = settings if kind else {"scramble": True, "warn_asynchronous_seeding": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = (kind or optuna.samplers.QMCSampler)(seed=derived_seed(4, "optuna"), **more)
    study = optuna.create_study(sampler=own)
    distributions = {
        "x": optuna.distributions.FloatDistribution(-1.0, 1.0),
        "t": optuna.distributions.FloatDistribution(1e-3, 1e3, log=True),
    }
    planner = OptunaPlanner(PLANE, LOW, seed=4, sampler=sampler, settings=settings)
    tried: list[dict[str, Any]] = []
    for _ in range(14):
        asked = study.ask(distributions)
        study.tell(asked, f(**asked.params))
        [point] = planner.ask(1)
        # nsga2 at times has a child that is its parent.
        assert (point == asked.params) is (asked.params not in tried)
        tried.append(asked.params)
        planner.tell([Observation(asked.params, outputs={"f": f(**asked.params)})])
    assert sampler == "nsga2" or len({params["x"] for params in tried}) == 14


@needs("optuna")
def test_tpe_is_steered_away_from_infeasible_points():
    space = Space((Real("x", 0.0, 1.0),))
    planner = OptunaPlanner(space, LOW, sampler="tpe", settings={"n_startup_trials": 5})
    planner.tell(
        [
            Observation({"x": i / 40}, *([("observed"), {"f": 0.0}] if i < 20 else ["infeasible"]))  # type: ignore[arg-type]
            for i in range(40)
        ]
    )
    assert sum(float(point["x"]) < 0.5 for point in planner.ask(20)) > 15


@needs("optuna")
@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"sampler": "tpee"}, "no sampler 'tpee'. Did you mean 'tpe'"),
        ({"sampler": "tpe", "settings": {"startup": 3}}, "no setting 'startup'"),
        ({"sampler": "tpe", "settings": {"seed": 3}}, "no setting 'seed'"),
        ({"sampler": "qmc", "constraints": [Constraint("g", upper=1.0)]}, "'qmc' knows no constraints"),
    ],
)
def test_what_a_sampler_has_not_is_refused(more: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        OptunaPlanner(PLANE, LOW, **more)


@needs("optuna")
@needs("cmaes")
def test_cmaes_takes_one_objective_only():
    with pytest.raises(UsageError, match="'cmaes' takes one objective only"):
        OptunaPlanner(PLANE, [Objective("f"), Objective("g")], sampler="cmaes")


# ---- Ax


def client_of(planner: AxPlanner, monkeypatch: pytest.MonkeyPatch, **ask: Any) -> Any:
    """Return the client that a planner makes for an ask; what it would propose is not computed."""
    client_class = imported("ax.api.client").Client

    clients: list[Any] = []

    def propose(self: Any, max_trials: int) -> dict[int, Any]:
        clients.append(self)
        return {}

    monkeypatch.setattr(client_class, "get_next_trials", propose)
    planner.ask(1, **ask)
    return clients[-1]


@needs("ax")
def test_ax_is_told_every_trial_in_its_own_words(monkeypatch: pytest.MonkeyPatch):
    objectives = [Objective("f", "maximize"), Objective("g", "target", 1.0)]
    planner = AxPlanner(MIXED, objectives, constraints=[Constraint("h", 0.0, 5.0)], initial=1)
    noise = {"f": 0.1, "g": 0.2, "h": 0.3}
    planner.tell(
        [
            Observation({"x": 0.5, "n": 3, "c": 1}, outputs={"f": 2.0, "g": 4.0, "h": 6.0}, noise=noise),
            Observation({"x": 0.4, "n": 3, "c": 1}, outputs={"f": 1.0, "g": 4.0, "h": 6.0}, noise=noise),
            Observation({"x": 0.1, "n": 4, "c": True}, "infeasible"),
            Observation({"x": 0.2, "n": 5, "c": "a"}, "abandoned"),
        ]
    )
    client = client_of(planner, monkeypatch, pending=[{"x": 0.3, "n": 6, "c": "a"}])
    experiment = client._experiment
    assert [t.status.name for t in experiment.trials.values()] == [
        "COMPLETED",
        "COMPLETED",
        "ABANDONED",
        "FAILED",
        "RUNNING",
    ]
    assert experiment.trials[2].arm.parameters == {"x0": 0.1, "x1": 4, "x2": "0"}
    data = experiment.lookup_data().df
    first = data[data["trial_index"] == 0].set_index("metric_name")
    assert first["mean"].to_dict() == {"y0": -2.0, "y1": 3.0, "c0": 6.0}
    assert first["sem"].to_dict() == {"y0": 0.1, "y1": 0.2, "c0": 0.3}
    assert len(experiment.optimization_config.outcome_constraints) == 2


@needs("ax")
def test_the_first_points_are_the_initial_design_of_ax():
    planner = AxPlanner(PLANE, LOW, seed=3)
    together = planner.ask(4)
    assert together[0]["x"] == 0.0
    apart = planner.ask(2)
    planner.tell([Observation(point, outputs={"f": 1.0}) for point in apart[:1]])
    assert apart + planner.ask(2, apart[1:]) == together


@needs("ax")
def test_constraints_between_parameters_that_ax_has_not_are_refused():
    def bound(name: str, lower: float, upper: float) -> Space:
        return Space(PLANE.parameters, constraints=(ParameterConstraint(((name, 1.0),), lower, upper),))

    with pytest.raises(UsageError, match="on a log scale"):
        AxPlanner(bound("t", 0.0, 5.0), LOW)
    with pytest.raises(UsageError, match="no equations"):
        AxPlanner(bound("x", 0.5, 0.5), LOW)


@needs("ax")
@pytest.mark.parametrize(("more", "word"), [({"method": "fest"}, "Did you mean 'fast'"), ({"initial": 0}, "initial")])
def test_options_that_ax_has_not_are_refused(more: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        AxPlanner(PLANE, LOW, **more)


# ---- PHYSBO and NIMO


def told(n: int) -> list[Observation]:
    assert POOL.pool is not None
    points = POOL.pool[:: len(POOL.pool) // n][:n]
    return [Observation(p, outputs={"f": float(p["x"]), "g": -float(p["x"])}) for p in points]


@needs("physbo")
def test_physbo_believes_what_its_model_expects_of_pending_points(monkeypatch: pytest.MonkeyPatch):
    physbo = imported("physbo")

    written: list[tuple[list[int], list[float]]] = []
    write = physbo.search.discrete.Policy.write

    def noting(self: Any, action: Any, t: Any, *args: Any, **more: Any) -> None:
        written.append((list(action), [float(each) for each in t.ravel()]))
        write(self, action, t, *args, **more)

    monkeypatch.setattr(physbo.search.discrete.Policy, "write", noting)
    planner = PhysboPlanner(POOL, [Objective("f", "maximize")], initial=5)
    planner.tell(told(5))
    planner.ask(1, pending=[{"x": 1.0, "c": "b"}])
    (first, values), (waiting, believed) = written
    assert first == [0, 1, 2, 3, 4]
    assert values == [o.outputs["f"] for o in told(5)]
    assert waiting == [5]
    assert max(values) * 0.8 < believed[0] < 1.6


@needs("physbo")
@pytest.mark.parametrize(
    ("more", "word"),
    [({"score": "HVPI"}, "no score 'HVPI' here"), ({"initial": 0}, "initial"), ({"n_basis": -1}, "n_basis")],
)
def test_options_that_physbo_has_not_are_refused(more: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        PhysboPlanner(POOL, LOW, **more)


@needs("nimo")
def test_nimo_is_given_a_file_of_candidates(monkeypatch: pytest.MonkeyPatch):
    nimo = imported("nimo")

    seen: list[tuple[dict[str, Any], list[dict[str, str]]]] = []
    selection = nimo.selection

    def noting(**more: Any) -> Any:
        with Path(more["input_file"]).open(newline="") as file:
            seen.append((more, list(csv.DictReader(file))))
        return selection(**more)

    monkeypatch.setattr(nimo, "selection", noting)
    planner = NimoPlanner(POOL, [Objective("f", "maximize"), Objective("g")], method="RE", initial=3)
    planner.tell([*told(4), Observation({"x": 1.0, "c": "b"}, "infeasible")])
    [point] = planner.ask(1, pending=[{"x": 1.0, "c": "a"}])
    [(options, rows)] = seen
    assert (options["method"], options["num_objectives"], options["num_proposals"]) == ("RE", 2, 1)
    assert options["minimization"] is True
    assert [(float(row["y0"]), float(row["y1"])) for row in rows[:4]] == [
        (-o.outputs["f"], o.outputs["g"]) for o in told(4)
    ]
    assert [row["y0"] for row in rows[4:]] == [""] * 14
    assert POOL.problems(point) == []
    assert point not in [o.point for o in told(4)]


@needs("nimo")
@pytest.mark.parametrize(
    ("more", "word"),
    [({"method": "PHYSBOO"}, "Did you mean 'PHYSBO'"), ({"score": "HVPI"}, "no score"), ({"initial": 0}, "initial")],
)
def test_options_that_nimo_has_not_are_refused(more: dict[str, Any], word: str):
    with pytest.raises(UsageError, match=word):
        NimoPlanner(POOL, LOW, **more)
