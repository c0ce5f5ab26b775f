"""Every promise that simulations watch is broken here on purpose, once: the referee has to notice."""

# pyright: basic
# Patches take the place of code whose types are checked where it stands.

import re
from collections.abc import Callable
from typing import Any

import pytest

from renkei.accounts import Books, _books
from renkei.accounts._books import Entry
from renkei.campaign import Campaign, Runner, _runner
from renkei.campaign._routes import Routes
from renkei.errors import Denied, RemoteError, Unreachable
from renkei.ledger import Ledger, _ledger
from renkei.model.agreement import Agreement
from renkei.model.quantity import MICRO, Quantity
from renkei.model.records import RunRefused
from renkei.policy import Decision, Policy
from renkei.sim import run_seed
from renkei.sim._network import SimSite
from renkei.sim._versions import amended
from renkei.site import Offered, Revocations, Runs, Site, _gate
from renkei.site._gate import Gate
from renkei.site._intake import Intake
from renkei.site._settlement import Settlement

pytestmark = pytest.mark.long
Patch = pytest.MonkeyPatch
SEEDS = 60
"""How many seeds a bug may go unnoticed."""


def forget_a_trial(patch: Patch) -> None:
    patch.setattr(Runner, "_retry", lambda *_: None)


def take_silence_for_failure(patch: Patch) -> None:
    real: Callable[..., Any] = Runner._submit

    async def submit(self: Any, name: str, requests: Any) -> None:
        site = self.sites[name]

        class Impatient:
            async def submit(self, envelope: Any) -> Any:
                try:
                    return await site.submit(envelope)
                except Unreachable as error:
                    raise RemoteError("no answer, so it failed") from error

        self.sites = {**self.sites, name: Impatient()}
        try:
            await real(self, name, requests)
        finally:
            self.sites = {**self.sites, name: site}

    patch.setattr(Runner, "_submit", submit)


def take_a_copy_for_a_refusal(patch: Patch) -> None:
    patch.setattr(_gate, "Replayed", Denied)


def start_again_what_ran_before_a_crash(patch: Patch) -> None:
    real: Callable[..., Any] = Site._recover

    async def recover(self: Any) -> None:
        started = [run for run, row in self.runs.live.items() if row.state == "started"]
        await real(self)
        for run in started:
            if run in self.runs.live:
                self.runs.rows[run].state = "accepted"
                self._queue.append(run)

    patch.setattr(Site, "_recover", recover)


def forget_what_was_lost(patch: Patch) -> None:
    real: Callable[..., Any] = Settlement.end

    def end(self: Any, row: Any, end: Any, *more: Any, **options: Any) -> None:
        if end.outcome != "lost":
            real(self, row, end, *more, **options)

    patch.setattr(Settlement, "end", end)


def overdraw(patch: Patch) -> None:
    patch.setattr(Books, "available", lambda self, team, unit: Quantity(10**6 * MICRO, unit))


def let_money_vanish(patch: Patch) -> None:
    real = _books.entries
    patch.setattr(_books, "entries", lambda body: tuple(e for e in real(body) if e.name != "spent" or not e.micro))


def charge_more_than_was_used(patch: Patch) -> None:
    patch.setattr(Offered, "charge", lambda self, seconds, reserved, parameters=None: reserved)


def charge_for_refusals(patch: Patch) -> None:
    real = _books.entries

    def entries(body: Any) -> tuple[Entry, ...]:
        if isinstance(body, RunRefused):
            return Entry(body.team, "available", -1, "run"), Entry(body.team, "spent", 1, "run")
        return real(body)

    patch.setattr(_books, "entries", entries)
    patch.setattr(Books, "bodies", (*Books.bodies, RunRefused))


def answer_before_it_is_on_disk(patch: Patch) -> None:
    real = Ledger.sync

    async def sync(self: Any, *, meanwhile: bool = False) -> None:
        if self.owner.startswith("campaign") or self.size - self.durable_size >= 8:
            await real(self, meanwhile=meanwhile)

    patch.setattr(Ledger, "sync", sync)


def save_no_rows(patch: Patch) -> None:
    patch.setattr(Runs, "changes", lambda self: [])


def believe_something_else(patch: Patch) -> None:
    real = Campaign.observe
    patch.setattr(
        Campaign,
        "observe",
        lambda self, trial, outputs, run="": real(self, trial, {k: v + 1 for k, v in outputs.items()}, run),
    )


def serve_the_revoked(patch: Patch) -> None:
    patch.setattr(Revocations, "against", lambda self, institution, agreement: "")


def allow_everything(patch: Patch) -> None:
    patch.setattr(Policy, "decide", lambda self, question: Decision("allow", ()))


def hash_something_else(patch: Patch) -> None:
    real = _ledger.leaf_hash
    patch.setattr(_ledger, "leaf_hash", lambda raw: real(raw[:-1]))


def go_on_when_the_disk_is_full(patch: Patch) -> None:
    def fail(self: Any, broken: Any, cause: Any) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self.durable_size = self.size

    patch.setattr(Ledger, "_fail", fail)


def ask_before_it_is_written_down(patch: Patch) -> None:
    real: Callable[..., Any] = Runner._submit

    async def submit(self: Any, name: str, requests: Any) -> None:
        async def skip(**_: Any) -> None:
            pass

        written, self.campaign.sync = self.campaign.sync, skip
        try:
            await real(self, name, requests)
        finally:
            self.campaign.sync = written

    patch.setattr(Runner, "_submit", submit)


def ask_for_ever(patch: Patch) -> None:
    patch.setattr(_runner, "REFUSED_MAX", 10**9)


def give_up_at_the_first_silence(patch: Patch) -> None:
    real: Callable[..., Any] = Runner._unheard

    async def unheard(self: Any, name: str, runs: Any) -> Any:
        try:
            await self.sites[name].describe("")
        except Unreachable as error:
            self._give_up(runs, error.message)
            return set()
        return await real(self, name, runs)

    patch.setattr(Runner, "_unheard", unheard)


def go_without_the_silent(patch: Patch) -> None:
    async def admit(*_: Any) -> None:
        pass

    patch.setattr(Runner, "_admit", admit)
    patch.setattr(Routes, "is_awaiting", False)


def let_anybody_in(patch: Patch) -> None:
    """A member that acceded is one at sites that have not heard of it yet, too."""
    joined = amended().agreement
    patch.setattr(Agreement, "may_sign_for", lambda self, institution, team: True)
    real: Callable[..., Any] = Gate._opened
    patch.setattr(SimSite, "_let_in", lambda self, site: site)

    def opened(self: Any, envelope: Any, inside: Any) -> Any:
        terms = self._terms
        agreement, terms.agreement = terms.agreement, joined
        try:
            return real(self, envelope, inside)
        finally:
            terms.agreement = agreement

    patch.setattr(Gate, "_opened", opened)
    patch.setattr(Intake, "_question", _question_of_a_member(Intake._question, joined))


def _question_of_a_member(real: Callable[..., Any], joined: Agreement) -> Callable[..., Any]:
    def question(self: Any, *arguments: Any) -> Any:
        terms = self._terms
        agreement, terms.agreement = terms.agreement, joined
        try:
            return real(self, *arguments)
        finally:
            terms.agreement = agreement

    return question


@pytest.mark.parametrize(
    ("bug", "noticed"),
    [
        (forget_a_trial, "Not everything was over"),
        (take_silence_for_failure, "the campaign has it as|never ended"),
        (take_a_copy_for_a_refusal, "the campaign has it as"),
        (start_again_what_ran_before_a_crash, "was started before|executed 2 times"),
        (forget_what_was_lost, "Not everything was over|never ended"),
        (overdraw, "below zero"),
        (let_money_vanish, "do not add up|was charged"),
        (charge_more_than_was_used, "its use comes to"),
        (charge_for_refusals, "its runs were charged|add up|below zero"),
        (answer_before_it_is_on_disk, "."),
        (save_no_rows, "."),
        (believe_something_else, "gave something else"),
        (serve_the_revoked, "which is revoked"),
        (allow_everything, "which its policy forbids|which nobody approved"),
        (hash_something_else, "does not match its hash"),
        (go_on_when_the_disk_is_full, "."),
        (ask_before_it_is_written_down, "no campaign knows of it"),
        (ask_for_ever, "Not everything was over"),
        (give_up_at_the_first_silence, "would have told of it"),
        (go_without_the_silent, "had not closed"),
        (let_anybody_in, "not one of"),
    ],
)
def test_a_planted_bug_is_noticed(monkeypatch: Patch, bug: Callable[[Patch], None], noticed: str):
    bug(monkeypatch)
    for seed in range(SEEDS):
        if problem := run_seed(seed).problem:
            assert re.search(noticed, problem), problem
            return
    pytest.fail(f"nobody noticed in {SEEDS} seeds")
