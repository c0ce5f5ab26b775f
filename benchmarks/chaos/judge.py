"""The judge: reads every ledger from disk and what was really executed, and counts broken promises.

It folds records by rules of its own. What it takes from the product is reading records, and `verify`, which checks
hashes, signatures and that the saved tables are what the records fold to.
"""

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.place import HOT, PARTIES, PER_HOUR, SITES, Place
from benchmarks.chaos.processes import Witness

from renkei.accounts import Books
from renkei.campaign import Status, TrialRuns, Trials
from renkei.ledger import LedgerReader, verify
from renkei.model.records import Record, RunEnded, read_record
from renkei.site import Runs

PROMISES = {
    "lost": "trials without a fate, runs that never ended, records that were durable and are gone",
    "doubled": "runs executed, accepted, started or ended twice; trials paid for twice",
    "overspent": "balances below zero, books that do not add up, spent that is not the sum of charges",
    "mischarged": "charges that are not the measured use, or for what never ran",
    "disagreeing": "what a campaign believes that its sites did not write",
    "unsound": "ledgers that do not verify",
}
"""What must be zero, and what is counted."""
OVERHEAD_S = 0.15
"""How much longer than the procedure itself a run may be measured on an engine: starting and ending a process."""
LOAD_S = 1.0
"""How much longer than that again where the machine was busy; counted, and charged as it was measured."""


@dataclass
class Verdict:
    """What the judge found.

    Args:
        broken: How often each promise was broken.
        findings: One sentence for each time.
        counts: What happened, in numbers.
    """

    broken: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(PROMISES, 0)))
    findings: list[str] = field(default_factory=list[str])
    counts: Counter[str] = field(default_factory=Counter[str])

    def broke(self, promise: str, what: str) -> None:
        """Note that a promise was broken."""
        self.broken[promise] += 1
        self.findings.append(f"{promise}: {what}")


@dataclass
class Executed:
    """What a run's procedure itself left outside of everything: when it began and ended, each time."""

    began: list[float] = field(default_factory=list[float])
    ended: list[float] = field(default_factory=list[float])


def judge(place: Place, witnesses: Sequence[Witness], stops_s: float) -> Verdict:
    """Judge a run that is over.

    Args:
        place: Where it was.
        witnesses: What ledgers held when their process had just been killed.
        stops_s: The longest that a process was stopped, which stretches what is measured.
    """
    verdict = Verdict()
    executed = executions(place.folder / "executions")
    for run, marks in executed.items():
        if len(marks.began) > 1:
            verdict.broke("doubled", f"run {run} was executed {len(marks.began)} times")
    sites = {name: SiteBooks(name, verdict, executed, stops_s) for name in SITES}
    said: dict[str, list[bytes]] = {}
    for name, site in sites.items():
        said[name] = _sound(place, name, SITES[name], verdict)
        for raw in said[name]:
            site.take(read_record(raw))
        site.close()
    known = set[str]().union(*(site.started for site in sites.values()))
    for run in executed.keys() - known:
        verdict.broke("mischarged", f"run {run} was executed, and no site wrote that it started")
    for name in place.campaigns():
        _judge_campaign(place, name, said, sites, verdict)
    for witness in witnesses:
        if not _is_still_there(place.ledger(witness.who), witness):
            verdict.broke("lost", f"record {witness.seq} of {witness.who} was durable, and is gone or another")
    verdict.counts["executions"] = sum(len(marks.began) for marks in executed.values())
    verdict.counts["executions cut short"] = sum(len(m.began) > len(m.ended) for m in executed.values())
    return verdict


def executions(path: Path) -> dict[str, Executed]:
    """Return what procedures left in a file that each of them only ever adds lines to."""
    found: dict[str, Executed] = defaultdict(Executed)
    for line in path.read_text().splitlines() if path.exists() else ():
        run, what, at = line.split()
        (found[run].began if what == "began" else found[run].ended).append(float(at))
    return found


class SiteBooks:
    """Folds the records of one site.

    Args:
        name: The site.
        verdict: Where findings go.
        executed: What procedures left, by run.
        stops_s: The longest that a process was stopped.
    """

    def __init__(self, name: str, verdict: Verdict, executed: Mapping[str, Executed], stops_s: float) -> None:
        self.name, self._verdict, self._executed, self._stops_s = name, verdict, executed, stops_s
        self.accepted: dict[str, int] = {}
        self.started: set[str] = set()
        self.ended: dict[str, RunEnded] = {}
        self._granted: Counter[tuple[str, str]] = Counter()
        self._reserved: Counter[tuple[str, str]] = Counter()
        self._spent: Counter[tuple[str, str]] = Counter()

    def take(self, record: Record) -> None:
        """Fold one record, in order, and judge it."""
        body = record.body
        match record.kind:
            case "site.opened":
                self._verdict.counts[f"openings of {self.name}"] += 1
            case "allocation.granted":
                self._granted[body.team, body.unit] += body.micro
            case "run.accepted":
                self._once(body.run, self.accepted, "accepted")
                self.accepted[body.run] = body.micro
                self._reserved[body.team, body.unit] += body.micro
                self._balance(record)
            case "run.started":
                self._once(body.run, self.started, "started")
                if body.run not in self.accepted or body.run in self.ended:
                    self._verdict.broke("doubled", f"run {body.run} was started and was not waiting")
                self.started.add(body.run)
            case "run.ended":
                self._once(body.run, self.ended, "ended")
                self.ended[body.run] = body
                self._reserved[body.team, body.unit] -= self.accepted.get(body.run, 0)
                self._spent[body.team, body.unit] += body.charge
                self._balance(record)
                self._judge_charge(body)
            case "run.refused":
                self._verdict.counts[f"refused for {body.code}"] += 1
            case _:
                pass

    def _once(self, run: str, known: Mapping[str, object] | set[str], what: str) -> None:
        if run in known:
            self._verdict.broke("doubled", f"{self.name}: run {run} was {what} twice")

    def _balance(self, record: Record) -> None:
        key = record.body.team, record.body.unit
        if self._granted[key] - self._reserved[key] - self._spent[key] < 0:
            self._verdict.broke("overspent", f"{self.name}: record {record.seq} takes team {key[0]} below zero")

    def _judge_charge(self, ended: RunEnded) -> None:
        run, marks, broke = ended.run, self._executed.get(ended.run, Executed()), self._verdict.broke
        self._verdict.counts[f"runs {ended.outcome}"] += 1
        is_free = ended.outcome == "lost" or ended.fault == "facility"
        due = 0 if is_free else min(ended.reserved, math.ceil(round(PER_HOUR * ended.run_s / 3600 * 1e6, 3)))
        if abs(ended.charge - due) > 1 or not 0 <= ended.charge <= ended.reserved:
            broke("mischarged", f"{self.name}: run {run} was charged {ended.charge}, its use comes to {due}")
        if ended.charge and not marks.began:
            broke("mischarged", f"{self.name}: run {run} was charged and never executed")
        if ended.outcome in ("succeeded", "infeasible"):
            self._verdict.counts["runs that gave something"] += 1
            if len(marks.ended) != 1 or not marks.began:
                broke(
                    "mischarged", f"{self.name}: run {run} {ended.outcome}, and its procedure did not come to its end"
                )
                return
            own_s = marks.ended[0] - marks.began[0]
            if not own_s - 0.05 <= ended.run_s <= own_s + OVERHEAD_S + LOAD_S + self._stops_s:
                broke("mischarged", f"{self.name}: run {run} took {own_s:.3f} s and was measured as {ended.run_s} s")
            elif ended.run_s > own_s + OVERHEAD_S:
                self._verdict.counts["runs that a busy or stopped machine stretched"] += 1
        elif len(marks.ended) == 1:
            self._verdict.counts["runs that came to their end, and whose result was lost with their site"] += 1

    def close(self) -> None:
        """Judge what is left when no more records come."""
        for run in self.accepted.keys() - self.ended.keys():
            self._verdict.broke("lost", f"{self.name}: run {run} was accepted and never ended")
        for key, spent in self._spent.items():
            if self._reserved[key]:
                self._verdict.broke("overspent", f"{self.name}: {self._reserved[key]} are still reserved for {key[0]}")
            if spent > self._granted[key]:
                self._verdict.broke("overspent", f"{self.name}: team {key[0]} spent more than it was granted")
        self._verdict.counts["runs accepted"] += len(self.accepted)


def _sound(place: Place, who: str, institution: str, verdict: Verdict) -> list[bytes]:
    """Return the records of a ledger, verified with the key that it must be signed with."""
    tables = [Runs(), Books()] if who in SITES else [Trials(), TrialRuns(), Status()]
    found = verify(place.ledger(who), place.keys[institution].public, tables)
    if found.problem:
        verdict.broke("unsound", f"{who}: {found.problem}")
    elif found.covered < found.records:
        verdict.counts["records that no checkpoint covers"] += found.records - found.covered
    verdict.counts["records"] += found.records
    verdict.counts["checkpoints"] += found.checkpoints
    with LedgerReader(place.ledger(who)) as reader:
        return [bytes(raw) for _, raw, _ in reader.rows()]


def _judge_campaign(
    place: Place, name: str, said: Mapping[str, Sequence[bytes]], sites: Mapping[str, SiteBooks], verdict: Verdict
) -> None:
    trials: dict[str, float] = {}
    fates: Counter[str] = Counter()
    runs: dict[str, tuple[str, str]] = {}
    state: dict[str, str] = {}
    is_over = False
    for raw in _sound(place, name, next(iter(PARTIES)), verdict):
        record = read_record(raw)
        body = record.body
        match record.kind:
            case "trial.proposed":
                trials[body.trial] = float(body.parameters["x"])
            case "run.requested":
                runs[body.run], state[body.run] = (body.trial, body.site), "requested"
            case "run.withdrawn":
                state[body.run] = "withdrawn"
            case "run.reported":
                told = read_record(body.record)
                if bytes(body.record) != said[body.site][told.seq]:
                    verdict.broke("disagreeing", f"{name}: {body.site} wrote another record {told.seq}")
                state[told.body.run] = getattr(told.body, "outcome", told.kind.removeprefix("run."))
            case "trial.observed":
                fates[body.trial] += 1
                _judge_observed(name, trials[body.trial], body.run, body.outputs, runs, sites, verdict)
            case "trial.infeasible":
                fates[body.trial] += 1
                if trials[body.trial] <= HOT:
                    verdict.broke("disagreeing", f"{name}: trial {body.trial} is not infeasible")
            case "trial.abandoned":
                fates[body.trial] += 1
                verdict.broke("lost", f"{name}: trial {body.trial} was abandoned: {body.why}")
            case "campaign.resumed":
                verdict.counts["campaigns resumed"] += 1
            case "campaign.ended":
                is_over = True
            case _:
                pass
    if not is_over:
        verdict.broke("lost", f"{name} never ended")
    for trial in trials:
        if fates[trial] != 1:
            verdict.broke("lost" if not fates[trial] else "doubled", f"{name}: trial {trial} has {fates[trial]} fates")
    paid: Counter[str] = Counter()
    for run, (trial, site) in runs.items():
        ended = sites[site].ended.get(run)
        if ended is not None:
            paid[trial] += ended.charge > 0
        if ended is not None and state[run] != ended.outcome:
            verdict.broke("disagreeing", f"{name}: run {run} is {state[run]} here, and {ended.outcome} at {site}")
        if ended is None and state[run] not in ("refused", "withdrawn"):
            verdict.broke("lost", f"{name}: run {run} is {state[run]}, and {site} does not know it")
    for trial, n in paid.items():
        if n != 1:
            verdict.broke("doubled", f"{name}: trial {trial} was paid for {n} times")
    verdict.counts["campaigns"] += 1
    verdict.counts["trials"] += len(trials)
    verdict.counts["trials that took more than one run"] += sum(
        n > 1 for n in Counter(trial for run, (trial, _) in runs.items() if state[run] != "refused").values()
    )


def _judge_observed(
    name: str, x: float, run: str, outputs: Mapping[str, float], runs: Mapping[str, tuple[str, str]],
    sites: Mapping[str, SiteBooks], verdict: Verdict,
) -> None:  # fmt: skip
    ended = sites[runs[run][1]].ended.get(run)
    if ended is None or ended.outcome != "succeeded" or ended.outputs != outputs:
        verdict.broke("disagreeing", f"{name}: run {run} did not give what was observed of it")
    if abs(outputs["value"] - (x - 0.3) ** 2) > 1e-4:  # awk writes six digits
        verdict.broke("disagreeing", f"{name}: run {run} gave {outputs['value']} at {x}")


def _is_still_there(path: Path, witness: Witness) -> bool:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        row = db.execute("SELECT hash FROM record WHERE seq = ?", (witness.seq,)).fetchone()
    return row is not None and row[0] == witness.hash
