"""The referee: watches every record that becomes durable at a site, and judges the whole at the end."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from renkei.accounts import Books
from renkei.campaign import RunRow as CampaignRun
from renkei.campaign import Status, StatusRow, TrialRow, TrialRuns, Trials
from renkei.ledger import Appended, LedgerReader, verify
from renkei.model.agreement import Agreement
from renkei.model.records import (
    AgreementAmended,
    InstitutionRevoked,
    RunAccepted,
    RunDecided,
    RunEnded,
    RunRefused,
    RunReported,
    RunStarted,
    SiteOpened,
    read_record,
)
from renkei.site import Runs, Site
from renkei.trust.keys import Key, PublicKey


class PromiseError(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True)
class SiteTerms:
    """What a site promised, as far as the referee must know it.

    Args:
        seconds: How long its engine worked on each run.
        per_hour: What it charges an hour, in units; 0 where it charges what a run reserves.
        forbids_hot: Whether nothing above 0.9 may run there.
        asks_cold: Whether a person has to approve what lies below 0.2.
    """

    seconds: Mapping[str, float]
    per_hour: float
    forbids_hot: bool
    asks_cold: bool


class Referee:
    """Checks promises. It folds what it sees by rules of its own, not by those of the code that it judges."""

    def __init__(self) -> None:
        self.terms: dict[str, SiteTerms] = {}
        self.agreements: dict[str, Agreement] = {}
        """Every version of the agreement that there is, by digest."""
        self.accepted: dict[str, str] = {}
        """The site that accepted each run."""
        self.started: set[str] = set()
        self.ended: dict[str, RunEnded] = {}
        self.requested: set[str] = set()
        """The runs that campaigns wrote down before they asked for them; known at the end."""
        self._spent: Counter[tuple[str, str, str]] = Counter()
        self._approved: set[str] = set()
        self._revoked: set[tuple[str, str]] = set()
        self._in_force: dict[str, Agreement] = {}
        self._n_seen: dict[str, int] = {}

    @property
    def has_revoked(self) -> bool:
        """Whether some site took in that an institution is revoked."""
        return bool(self._revoked)

    def is_revoked(self, site: str, institution: str) -> bool:
        """Return whether a site took in that an institution is revoked."""
        return (site, institution) in self._revoked

    def watch(self, site: Site) -> None:
        """Watch a site that opened; what it knew before must be what was seen to become durable."""
        n_seen = self._n_seen.get(site.name, 0)
        n_there = site.ledger.durable_size
        if n_there < n_seen:
            raise PromiseError(f"{site.name} lost records: it has {n_there}, and {n_seen} were durable.")
        for seq in range(n_seen, n_there):
            record = read_record(site.ledger.read(seq))
            self._saw(site, Appended(seq, b"", record.body))
        self._n_seen[site.name] = n_there
        site.ledger.follow(lambda records: self._commit(site, records))
        self._compare(site)

    def _commit(self, site: Site, records: Sequence[Appended]) -> None:
        for record in records:
            self._saw(site, record)
        self._n_seen[site.name] = site.ledger.durable_size
        if site.ledger.size > site.ledger.durable_size:
            return  # the books are ahead of what was seen
        for row in site.books.rows.values():
            if row.available < 0 or row.reserved < 0 or row.spent < 0:
                raise PromiseError(f"{site.name}: a balance of team {row.team} is below zero: {row}.")
            if row.granted + row.available + row.reserved + row.spent:
                raise PromiseError(f"{site.name}: the books of team {row.team} do not add up to zero: {row}.")
            if row.spent != (charged := self._spent[site.name, row.team, row.unit]):
                raise PromiseError(
                    f"{site.name}: team {row.team} spent {row.spent}, and its runs were charged {charged}."
                )

    def _due(self, site: str, ended: RunEnded) -> int:
        """Return what a run must be charged, in millionths."""
        terms = self.terms[site]
        if ended.outcome == "lost" or ended.fault == "facility" or ended.run not in self.started:
            return 0
        if not terms.per_hour:
            return ended.reserved if ended.run_s else ended.charge  # cancelled before it began: either is right
        return min(ended.reserved, round(terms.per_hour * terms.seconds.get(ended.run, 0.0) / 3600 * 1e6))

    def _saw(self, site: Site, record: Appended) -> None:
        body = record.body
        match body:
            case RunAccepted():
                if body.run in self.accepted:
                    raise PromiseError(f"Run {body.run} was accepted twice.")
                self.accepted[body.run] = site.name
                if (site.name, body.institution) in self._revoked:
                    raise PromiseError(f"{site.name} accepted run {body.run} of {body.institution}, which is revoked.")
                if body.institution not in (team := self._in_force[site.name].teams[body.team].institutions):
                    raise PromiseError(f"{site.name} accepted run {body.run} of {body.institution}, not one of {team}.")
                x = float(body.parameters["x"])
                if self.terms[site.name].forbids_hot and x > 0.9:
                    raise PromiseError(f"{site.name} accepted run {body.run} at {x}, which its policy forbids.")
                if self.terms[site.name].asks_cold and x < 0.2 and body.run not in self._approved:
                    raise PromiseError(f"{site.name} accepted run {body.run} at {x}, which nobody approved.")
            case RunDecided() if body.approved:
                self._approved.add(body.run)
            case SiteOpened() | AgreementAmended():
                now, before = self.agreements[body.agreement], self._in_force.get(site.name)
                if before is not None and now.version < before.version:
                    raise PromiseError(f"{site.name} went back to version {now.version} of the agreement.")
                self._in_force[site.name] = now
            case InstitutionRevoked():
                self._revoked.add((site.name, body.institution))
            case RunStarted():
                if body.run not in self.accepted or body.run in self.ended or body.run in self.started:
                    raise PromiseError(
                        f"Run {body.run} was started, but is not accepted, was started before or is over."
                    )
                self.started.add(body.run)
            case RunEnded():
                if body.run not in self.accepted:
                    raise PromiseError(f"Run {body.run} ended and was never accepted.")
                if body.run in self.ended:
                    raise PromiseError(f"Run {body.run} ended twice.")
                if not 0 <= body.charge <= body.reserved:
                    raise PromiseError(f"Run {body.run} was charged {body.charge} of {body.reserved} that it reserved.")
                if abs(body.charge - (due := self._due(site.name, body))) > 1:  # millionths are rounded
                    raise PromiseError(f"Run {body.run} was charged {body.charge}, and its use comes to {due}.")
                self._spent[site.name, body.team, body.unit] += body.charge
                self.ended[body.run] = body
            case RunRefused() if body.code != "conflict" and body.run in self.accepted:
                raise PromiseError(f"Run {body.run} was refused after it was accepted.")
            case _:
                pass

    def _compare(self, site: Site) -> None:
        live = {run for run, at in self.accepted.items() if at == site.name and run not in self.ended}
        opened = {run for run in live if run not in site.runs.rows}
        if opened:
            raise PromiseError(f"{site.name} forgot the runs {sorted(opened)}.")


def judge_executions(executions: Mapping[str, int], referee: Referee) -> None:
    """Check that no run was executed twice, or without having been accepted.

    Raises:
        PromiseError: One was.
    """
    for run, n in executions.items():
        if n > 1:
            raise PromiseError(f"Run {run} was executed {n} times.")
        if run not in referee.started:
            raise PromiseError(f"Run {run} was executed and never started.")


def judge_requests(referee: Referee) -> None:
    """Check that no site accepted a run that no campaign wrote down.

    Raises:
        PromiseError: One did.
    """
    for run, site in referee.accepted.items():
        if run not in referee.requested:
            raise PromiseError(f"{site} accepted run {run}, and no campaign knows of it.")


def judge_campaign(
    path: Path, key: Key, sites: Mapping[str, Sequence[bytes]], knows: Collection[str], referee: Referee
) -> dict[str, int]:
    """Check what a campaign believes against what its sites wrote; return counts of its trials by state.

    Args:
        path: The campaign's ledger.
        key: Of the institution that it is at home at.
        sites: Every record of each site.
        knows: The sites that the campaign knew of in the end.
        referee: What was seen to happen.

    Raises:
        PromiseError: Something does not agree.
    """
    found = verify(path, key.public, [Trials(), TrialRuns(), Status()])
    if found.problem:
        raise PromiseError(f"{path}: {found.problem}")
    with LedgerReader(path) as reader:
        trials = reader.table("trials", TrialRow)
        runs = reader.table("runs", CampaignRun)
        status = reader.table("status", StatusRow)
        reports = [r.body for r in reader.records() if isinstance(r.body, RunReported)]
    ends = [row for row in status.values() if row.state in ("reached", "exhausted")]
    if not ends:
        raise PromiseError(f"{path} does not say that the campaign is over.")
    for name in knows if ends[0].why.startswith("no site takes its runs") else ():
        if f"{name}: " not in ends[0].why:
            raise PromiseError(f"{path} says that {ends[0].why}, and {name} had not closed.")
    for report in reports:
        record = read_record(report.record)
        if bytes(report.record) != sites[report.site][record.seq]:
            raise PromiseError(f"{report.site} wrote another record {record.seq} than {path} holds.")
    referee.requested.update(runs)
    for run, row in runs.items():
        at_site = referee.accepted.get(run)
        if at_site is not None and run not in referee.ended:
            raise PromiseError(f"Run {run} was accepted at {at_site} and never ended.")
        outcome = referee.ended[run].outcome if run in referee.ended else None
        if row.code == "unknown":
            if at_site is not None and not referee.is_revoked(at_site, key.name):
                raise PromiseError(f"The campaign gave up run {run}, and {at_site} would have told of it.")
            continue
        if outcome is not None and row.state != outcome:
            raise PromiseError(f"Run {run} ended as {outcome} at {at_site}, and the campaign has it as {row.state}.")
        if outcome is None and row.state not in ("refused", "withdrawn"):
            raise PromiseError(f"The campaign has run {run} as {row.state}, and no site knows it.")
    counts = {"given up": sum(row.code == "unknown" for row in runs.values())}
    for trial, row in trials.items():
        counts[row.state] = counts.get(row.state, 0) + 1
        if row.state == "pending":
            raise PromiseError(f"The campaign is over, and trial {trial} has no fate.")
        if row.state == "observed" and (
            referee.ended[row.run].outcome != "succeeded" or referee.ended[row.run].outputs != row.outputs
        ):
            raise PromiseError(f"Trial {trial} was observed from run {row.run}, which gave something else.")
    return counts


def judge_site(path: Path, key: PublicKey) -> list[bytes]:
    """Check the ledger of a site, and that its tables are what its records fold to; return its records.

    Raises:
        PromiseError: It does not hold.
    """
    found = verify(path, key, [Runs(), Books()])
    if found.problem:
        raise PromiseError(f"{path}: {found.problem}")
    with LedgerReader(path) as reader:
        return [bytes(raw) for _, raw, _ in reader.rows()]
