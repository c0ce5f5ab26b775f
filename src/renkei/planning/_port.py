"""The planner port: what a campaign asks of every planner."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from renkei.errors import UsageError, did_you_mean
from renkei.model.space import Constraint, Objective, Observation, Point, Space

_GIVEN = ("space", "objectives", "constraints", "sources", "seed", "warm")
"""What planners are built with; everything else in a planner's signature is an option of its own."""

_EXTRA = "planner"
"""The extra of renkei that brings what planners of our own need."""


@dataclass(frozen=True, slots=True)
class Source:
    """One of several ways to try a point: a procedure of its own fidelity, price and speed.

    Args:
        name: What points and observations call it.
        price: What a trial is charged, in one unit for all sources, above 0.
        seconds: How long a trial should take, waiting included; 0 where nobody knows.
        counts: Whether its results are what the campaign is after. Those of other sources only inform.
        parallel: How many trials may be on their way there at the same time; None for any number.
    """

    name: str
    price: float = 1.0
    seconds: float = 0.0
    counts: bool = True
    parallel: int | None = None


class Planner(Protocol):
    """Proposes points, and learns from trials.

    A planner is pure in (history, seed): built with the same arguments, told the same observations in the same
    order and asked with the same `pending`, it proposes the same points, on any machine with the same versions. It
    keeps no other state, so a campaign that was killed tells a new planner its history and goes on.

    A planner that was given sources says in each point under `SOURCE` where it is to be tried; the points of pending
    trials and of observations say so, too.

    Calls come one at a time but not always from the same thread.
    """

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return up to `n` new points; fewer, or none, when the space is exhausted. Abandoned ones may come again.

        Args:
            n: How many, at least 1.
            pending: Points proposed and not yet told about, over all sites, in the order of their proposal.

        Raises:
            PlanningError: No point can be proposed though the space is not exhausted.
        """
        ...

    def tell(self, observations: Sequence[Observation]) -> None:
        """Learn from ended trials, each exactly once, abandoned ones included."""
        ...


@runtime_checkable
class Confirming(Protocol):
    """A planner that can end a campaign over several sources with its best guess."""

    def confirm(self, pending: Sequence[Point] = ()) -> Point | None:
        """Return the point that is believed to be best of those not tried at a source that counts, at such a source.

        Args:
            pending: Points proposed and not yet told about.

        Returns:
            The point with its source under `SOURCE`; None where every point was tried at a source that counts.
        """
        ...


def create(
    name: str,
    space: Space,
    objectives: Sequence[Objective],
    *,
    constraints: Sequence[Constraint] = (),
    sources: Sequence[Source] = (),
    seed: int = 0,
    warm: Sequence[Observation] = (),
    options: Mapping[str, Any] | None = None,
) -> Planner:
    """Return the planner that is registered as `name` under the entry point group `renkei.planners`.

    Args:
        name: For example "sobol", "random" or "bayesian"; "optuna", "ax", "physbo", "nimo" and "gest" are adapters.
        space: What to search.
        objectives: At least one.
        constraints: What outputs must satisfy.
        sources: Where points may be tried, if the planner is to choose; at least one of them counts.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; they do not count as trials.
        options: The planner's own settings; unknown ones are refused.

    Raises:
        UsageError: No such planner, or an option that it does not know, or its extra is not installed; or it is given
            sources and cannot choose among any.
    """
    found = _registered(entry_points)
    if name not in found:
        raise UsageError(
            f"No planner is named '{name}'.{did_you_mean(name, found)}", f"Known planners: {', '.join(sorted(found))}."
        )
    try:
        factory = found[name].load()
    except ImportError as error:
        raise _not_installed(str(error.name), _EXTRA) from error
    options = options or {}
    signature = inspect.signature(factory)
    own = [option for option in signature.parameters if option not in _GIVEN]
    if unknown := [option for option in options if option not in own]:
        raise UsageError(
            f"Planner '{name}' has no option '{unknown[0]}'.{did_you_mean(unknown[0], own)}",
            f"Its options: {', '.join(own) or 'none'}.",
        )
    if sources and "sources" not in signature.parameters:
        raise UsageError(
            f"Planner '{name}' cannot choose among sources of different fidelity.",
            "Take planner 'bayesian', or give the campaign sources that all count.",
        )
    given: dict[str, Any] = {"sources": sources} if sources else {}
    return factory(space, objectives, constraints=constraints, seed=seed, warm=warm, **given, **options)


@lru_cache(maxsize=1)
def _registered(look_up: Callable[..., Iterable[EntryPoint]]) -> Mapping[str, EntryPoint]:
    """Return the registered planners by name; looking them up takes tens of milliseconds, and they do not change."""
    return {point.name: point for point in look_up(group="renkei.planners")}


def require(*packages: str, extra: str = _EXTRA) -> None:
    """Check that packages which a planner imports only later are installed.

    Args:
        packages: Names that are imported.
        extra: The extra of renkei that brings them.

    Raises:
        UsageError: One is not.
    """
    for package in packages:
        if find_spec(package) is None:
            raise _not_installed(package, extra)


def _not_installed(package: str, extra: str) -> UsageError:
    return UsageError(
        f"The planner needs a package that is not installed: {package}.",
        f"Install it with: pip install 'renkei[{extra}]'.",
    )
