"""Runs as actions of an RO-Crate: which software, with what, by whom, when, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from renkei.campaign import TrialRow
from renkei.catalog import DatasetStore
from renkei.errors import RenkeiError
from renkei.home._home import Home
from renkei.model.records import Dataset
from renkei.model.space import Value
from renkei.report._history import Run
from renkei.report._view import CampaignView

RUNS_MAX = 500
"""How many runs are described one by one at most."""
DATASETS_MAX_BYTES = 64_000_000
"""How much of datasets is copied into a crate at most; of the others digest, size and site are told."""

_DONE = "http://schema.org/CompletedActionStatus"
_FAILED = "http://schema.org/FailedActionStatus"


@dataclass(frozen=True, slots=True)
class Described:
    """The runs that are described one by one, in the order of their request, and how many that ended are not."""

    runs: list[tuple[TrialRow, Run]]
    n_left_out: int


def described_runs(view: CampaignView) -> Described:
    """Return the campaign's runs that were accepted and ended; if they are too many, those of the best trials."""
    trials = list(view.trials)
    pairs = [(row, run) for row in trials for run in view.history.runs_of(row) if run.was_accepted and not run.is_open]
    if len(pairs) <= RUNS_MAX:
        return Described(pairs, 0)
    ranked = sorted(pairs, key=lambda pair: view.rank(pair[0]))
    kept = sorted(ranked[:RUNS_MAX], key=lambda pair: pair[0].n)
    return Described(kept, len(pairs) - len(kept))


def add_runs(
    crate: Any, home: Home, view: CampaignView, runs: Described, organizations: Mapping[str, Any], staged: Path
) -> list[Any]:
    """Add an action for each run, with its software, parameters, outputs and datasets; return the actions.

    Args:
        crate: What to add to.
        home: Where the sites' datasets are.
        view: The campaign.
        runs: Which runs.
        organizations: The institutions' entities by id.
        staged: An empty folder for files on their way into the crate.
    """
    adding = _Adding(crate, home, view, organizations, staged)
    return [adding.run(row, run) for row, run in runs.runs]


def url_of(view: CampaignView, site: str) -> str:
    """Return where the agreement says that a site is reached; empty when it does not say."""
    known = view.agreement.sites.get(site) if view.agreement else None
    return (known.url or "") if known else ""


class _Adding:
    def __init__(
        self, crate: Any, home: Home, view: CampaignView, organizations: Mapping[str, Any], staged: Path
    ) -> None:
        self.crate, self.home, self.view, self.organizations, self.staged = crate, home, view, organizations, staged
        self.n_bytes = 0

    def run(self, row: TrialRow, run: Run) -> Any:
        view, state = self.view, run.row.state
        is_good = state == "succeeded"
        begin, end = _times(run)
        properties: dict[str, Any] = {
            "@type": "CreateAction",
            "name": f"Trial {row.n + 1} at {run.row.site}",
            "description": f"{run.row.procedure} {run.requested.version} for trial {row.n + 1}: {state}",
            "identifier": run.row.run,
            "startTime": _stamp(begin),
            "endTime": _stamp(end),
            "actionStatus": _DONE if is_good else _FAILED,
        }
        if not is_good:
            properties["error"] = f"{state}: {run.row.message}" if run.row.message else state
        action = self.crate.add_action(
            self._software(run),
            f"#run-{run.row.run}",
            object=self._parameters(row, run),
            result=[*self._outputs(row, run), *self._datasets(run)],
            properties=properties,
        )
        site = next(site for site in view.sites if site.name == run.row.site)
        agent = self.organizations.get(site.institution)
        if agent is not None:
            action["agent"] = agent
        if view.status.institution in self.organizations:
            action["participant"] = self.organizations[view.status.institution]
        return action

    def _entity(self, identity: str, properties: dict[str, Any]) -> Any:
        from rocrate.model.contextentity import ContextEntity

        return self.crate.get(identity) or self.crate.add(ContextEntity(self.crate, identity, properties=properties))

    def _software(self, run: Run) -> Any:
        name, version = run.row.procedure, run.requested.version
        properties = {"@type": "SoftwareApplication", "name": name, "softwareVersion": version or "unknown"}
        if url := url_of(self.view, run.row.site):
            properties["url"] = url
        return self._entity(f"#procedure-{quote(name)}-{quote(version)}", properties)

    def _value(self, run: Run, what: str, name: str, value: Value, unit: str | None) -> Any:
        properties: dict[str, Any] = {"@type": "PropertyValue", "name": name, "value": value}
        if unit is None:
            properties["description"] = "in the procedure's own unit"
        elif unit != "1":
            properties["unitText"] = unit
        return self._entity(f"#{what}-{run.row.run}-{quote(name, safe='')}", properties)

    def _parameters(self, row: TrialRow, run: Run) -> list[Any]:
        """Return what the run was given: the trial's parameters in campaign units, and those that the source adds."""
        units = {p.name: p.unit for p in self.view.definition.space.parameters}
        source = next((s for s in self.view.definition.sources if s.procedure == run.row.procedure), None)
        renamed = {(source.rename if source else {}).get(name, name) for name in row.parameters}
        added = {name: value for name, value in run.requested.parameters.items() if name not in renamed}
        return [
            *(self._value(run, "parameter", name, value, units.get(name)) for name, value in row.parameters.items()),
            *(self._value(run, "fixed", name, value, None) for name, value in added.items()),
        ]

    def _outputs(self, row: TrialRow, run: Run) -> list[Any]:
        goals = (*self.view.definition.constraints, *self.view.definition.objectives)
        units = {goal.output: goal.unit for goal in goals}
        if row.run != run.row.run:
            return []
        return [self._value(run, "output", name, value, units.get(name)) for name, value in row.outputs.items()]

    def _datasets(self, run: Run) -> list[Any]:
        return [self._dataset(run, dataset) for dataset in (run.ended.datasets if run.ended else ())]

    def _dataset(self, run: Run, dataset: Dataset) -> Any:
        """Return the entity of a dataset: the file itself if it is at hand and there is room, else its description."""
        path, absent = f"datasets/{dataset.digest}", f"#dataset-{dataset.digest}"
        if (known := self.crate.get(path) or self.crate.get(absent)) is not None:
            return known
        properties: dict[str, Any] = {
            "name": dataset.name,
            "contentSize": str(dataset.size_bytes),
            "sha256": dataset.digest,
            "encodingFormat": "application/octet-stream",
        }
        if self.n_bytes + dataset.size_bytes > DATASETS_MAX_BYTES:
            why = "too large to be copied here"
        else:
            try:
                store = DatasetStore(self.home.site(run.row.site).site.data / "datasets")
                store.fetch(dataset.digest, self.staged / dataset.digest)
            except (RenkeiError, OSError) as error:
                why = str(error)
            else:
                self.n_bytes += dataset.size_bytes
                properties["description"] = f"Dataset '{dataset.name}' of site {run.row.site}"
                return self.crate.add_file(self.staged / dataset.digest, path, properties=properties)
        properties |= {"@type": "CreativeWork", "description": f"Kept at site {run.row.site}; not in this crate: {why}"}
        return self._entity(absent, properties)


def _times(run: Run) -> tuple[float, float]:
    """Return from when to when a run that ended worked; of one that never did, when it was accepted and ended."""
    heard = [record.at for record in run.said]
    return run.worked or (min(heard, default=run.row.at), max(heard, default=run.row.ended_at))


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
