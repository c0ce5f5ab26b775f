"""Trust over time: amendments and revocations that a site takes up while it runs."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from agreement_files import another_key, changed, in_force, with_india, without, write
from fakes import (
    FakeExecutor,
    agreement,
    balance,
    batch,
    campaign_file,
    cancellation,
    key_of,
    offered,
    open_campaign,
    records,
    request,
    runner_over,
    said,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.errors import AgreementError, Denied
from renkei.federation import RUN_BATCH, RunBatch
from renkei.model.agreement import Agreement
from renkei.model.records import read_record
from renkei.model.rule import Rule
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.site import AgreementSource, Site
from renkei.trust.endorsement import endorse, signatures_path
from renkei.trust.envelope import Envelope, seal
from renkei.trust.keys import Key
from renkei.trust.revocation import revocations_path, revoke

pytestmark = pytest.mark.anyio

NOT_INDIA = '@id("not-india")\nforbid (principal in Party::"in", action in Action::"run", resource);\n'
ONLY_JAPAN = '@id("only-japan")\nforbid (principal in Institution::"outsider", action in Action::"run", resource);\n'


REFUSED: list[tuple[tuple[str | Key, ...], Callable[[Agreement], Agreement], str]] = [
    (("us", "in"), with_india, "jp, a party of version 1, has not signed"),
    (("us", "jp"), with_india, "in, with its key of version 2, has not signed"),
    ((), with_india, "has not signed"),
    (("us", "jp"), lambda old: changed(changed(old)), "version 2 comes next"),
    (
        ("us", "jp"),
        lambda old: changed(old, lambda text: text.replace("version = 2", "version = 1").replace("previous", "#")),
        "version 1, and version 2",
    ),
    (
        ("us", another_key("jp")),
        lambda old: changed(old, lambda text: text.replace(key_of("jp").public.text, another_key("jp").public.text)),
        "does not verify",
    ),
    (
        ("us", "jp"),
        lambda old: changed(old, lambda text: text.replace('[sites.us-site]\ninstitution = "us-lab"', "#")),
        "no site 'us-site'",
    ),
    (
        ("us", "jp"),
        lambda old: changed(
            old, lambda text: text.replace(key_of("us-lab").public.text, another_key("us-lab").public.text)
        ),
        "is not the one that the agreement has for 'us-lab'",
    ),
    (
        ("us", "jp"),
        lambda old: changed(
            old,
            lambda text: text.replace('[sites.us-site]\ninstitution = "us', '[sites.us-site]\ninstitution = "jp'),
        ),
        "at another institution",
    ),
]


def source_at(path: Path, policy: str = "") -> AgreementSource:
    def policy_under(terms: Agreement) -> Policy:
        known = {"Team": terms.teams, "Institution": terms.institutions, "Party": terms.parties}
        return Policy(terms.rules, SitePolicies(DEFAULT_POLICY + policy, [offered().spec], known=known))

    return AgreementSource(path, policy_under)


@asynccontextmanager
async def watching(
    folder: Path, clock: HandClock, *, policy: str = "", executor: FakeExecutor | None = None, **options: Any
) -> AsyncGenerator[tuple[Site, Agreement, Path]]:
    """Yield a site that watches version 1 of an agreement, that version, and where it lies."""
    terms, path = in_force(folder)
    here = site(
        folder, clock, executor or FakeExecutor(answer=succeed), terms=terms, source=source_at(path, policy), **options
    )
    async with here.opened():
        yield here, terms, path


async def looked(here: Site) -> None:
    """Have a site look at its agreement's files now."""
    assert here.watch is not None
    await here.watch.look()


async def accepted(here: Site, signer: str, **changes: Any) -> bool:
    (answer,) = await said(here, request(**changes), signer=signer)
    return answer.kind == "run.accepted"


async def refusal(here: Site, envelope: Envelope, call: str = "submit") -> str:
    """Return why a batch is refused; it is recorded too."""
    n = len(records(here, "request.refused"))
    with pytest.raises(Denied) as caught:
        await getattr(here, call)(envelope)
    *before, last = records(here, "request.refused")
    assert (len(before), last.body.reason) == (n, caught.value.message)
    return caught.value.message


# ---- amendments ------------------------------------------------------------------------------------------------


async def test_a_third_party_accedes_without_a_restart(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        assert "not an institution" in await refusal(here, batch(here, request(), signer="in-lab"))
        new = with_india(old)
        write(tmp_path, new, "us", "jp", "in")
        await until(lambda: here.agreement.digest == new.digest)  # the site looks by itself
        assert await accepted(here, "in-lab")
        assert await accepted(here, "us-lab")
        (amended,) = records(here, "agreement.amended")
        assert (amended.body.version, amended.body.agreement, amended.body.previous) == (2, new.digest, old.digest)
        assert amended.body.signed == ("us", "jp", "in")
        first = records(here, "run.accepted")[0]
        assert first.seq > amended.seq
    assert path.read_bytes() == new.source


async def test_several_versions_come_into_force_one_after_another(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, _):
        new = with_india(old)
        for terms, signers in ((new, ("us", "jp", "in")), (changed(new), ("us", "jp", "in"))):
            write(tmp_path, terms, *signers)
            await looked(here)
        assert [record.body.version for record in records(here, "agreement.amended")] == [2, 3]


@pytest.mark.parametrize(("signers", "change", "why"), REFUSED)
async def test_what_does_not_follow_changes_nothing_and_is_told_once(
    signers: tuple[str | Key, ...],
    change: Callable[[Agreement], Agreement],
    why: str,
    tmp_path: Path,
    clock: HandClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        with caplog.at_level(logging.WARNING):
            write(tmp_path, change(old), *signers)
            for _ in range(3):
                await looked(here)
                path.write_bytes(path.read_bytes())  # touched, and the same
        (told,) = caplog.messages
        assert told.startswith("us-site: version 1 of the agreement stays in force")
        assert why in told
        assert (here.agreement.digest, records(here, "agreement.amended")) == (old.digest, [])
        assert await accepted(here, "jp-lab")


async def test_a_half_written_file_changes_nothing_until_it_is_whole(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        new = with_india(old)
        write(tmp_path, new, "us", "jp", "in")
        for n in (0, 1, 500, len(new.source) - 2):
            path.write_bytes(new.source[:n])
            await looked(here)
            assert here.agreement.digest == old.digest
        path.unlink()
        await looked(here)
        assert here.agreement.digest == old.digest
        path.write_bytes(new.source)
        await looked(here)
        assert here.agreement.digest == new.digest


async def test_the_last_signature_brings_it_into_force(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        new = with_india(old)
        write(tmp_path, new, "us", "in")
        await looked(here)
        assert here.agreement.digest == old.digest
        endorse(key_of("jp"), new, path)
        await looked(here)
        assert here.agreement.digest == new.digest
        signatures_path(path).unlink()  # in force is in force
        await looked(here)
        assert here.agreement.digest == new.digest


async def test_policies_are_read_against_the_new_names(
    tmp_path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path, clock, policy=ONLY_JAPAN) as (here, old, _):
        new = changed(old, without("institutions.outsider"))
        write(tmp_path, new, "us", "jp")
        await looked(here)
        assert here.agreement.digest == old.digest
        assert 'there is no Institution::"outsider"' in caplog.text


async def test_the_sites_own_policies_hold_for_whoever_accedes(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock, policy=NOT_INDIA) as (here, old, _):
        write(tmp_path, with_india(old), "us", "jp", "in")
        await looked(here)
        (answer,) = await said(here, request(), signer="in-lab")
        assert (answer.kind, answer.body.reasons[0].id) == ("run.refused", "not-india")


async def test_new_rules_hold_from_then_on(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, _):
        rule = '\n\n[[rules]]\nid = "no-japan"\neffect = "deny"\ninstitutions = ["jp-lab"]\n'
        write(tmp_path, changed(old, lambda text: text + rule), "us", "jp")
        assert await accepted(here, "jp-lab")
        await looked(here)
        assert not await accepted(here, "jp-lab")


async def test_a_running_campaign_goes_on_over_an_amendment(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with watching(tmp_path, clock, executor=executor) as (here, old, _):
        file = campaign_file("trials = 6", parallel=3)
        campaign = open_campaign(file, tmp_path, clock, digest=old.digest)
        runner = await runner_over(campaign, here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            await until(lambda: len(executor.jobs) == 3)
            write(tmp_path, with_india(old), "us", "jp", "in")
            await looked(here)
            assert here.agreement.version == 2
            executor.answer = succeed
            await executor.succeed(*executor.jobs)
        await campaign.ledger.close()
        assert {record.body.outcome for record in records(here, "run.ended")} == {"succeeded"}
        assert len(records(here, "run.ended")) == 6
        amended = records(here, "agreement.amended")[0].seq
        assert [record.seq < amended for record in records(here, "run.accepted")] == [True] * 3 + [False] * 3
        assert balance(here) == (94, 0, 6)


async def test_a_run_that_waits_for_a_person_is_no_ones_once_its_institution_is_gone(
    tmp_path: Path, clock: HandClock
) -> None:
    terms = agreement(Rule("hot", "ask", purposes=("hot",)), fusion=("us-lab", "jp-lab", "outsider"))
    path = write(tmp_path, terms, "us", "jp")
    async with site(tmp_path, clock, FakeExecutor(), terms=terms, source=source_at(path)).opened() as here:
        (parked,) = await said(here, request(purpose="hot"), signer="outsider")
        assert parked.kind == "run.parked"
        members = '["us-lab", "jp-lab", "outsider"]'
        new = changed(terms, lambda text: without("institutions.outsider")(text.replace(members, '["us-lab"]')))
        write(tmp_path, new, "us", "jp")
        await looked(here)
        assert await here.decide(parked.body.run, "ada", True) == "refused"
        assert "no longer an institution" in here.runs.rows[parked.body.run].message


async def test_a_restart_goes_on_under_the_version_that_was_in_force_and_never_goes_back(
    tmp_path: Path, clock: HandClock
) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        new = with_india(old)
        write(tmp_path, new, "us", "jp", "in")
        await looked(here)
    async with site(tmp_path, clock, FakeExecutor(), terms=new, source=source_at(path)).opened() as again:
        assert await accepted(again, "in-lab")
    other = changed(old, lambda text: text + "# another version 2\n")
    for terms in (old, other):
        with pytest.raises(AgreementError, match="Version 2 of agreement 'us-japan' was in force here"):
            async with site(tmp_path, clock, FakeExecutor(), terms=terms).opened():
                pass
    async with site(tmp_path, clock, FakeExecutor(), terms=changed(new)).opened():
        pass


async def test_an_amendment_that_came_while_the_site_was_down_is_taken_up_at_its_start(
    tmp_path: Path, clock: HandClock
) -> None:
    old, path = in_force(tmp_path)
    here = site(tmp_path, clock, FakeExecutor(), terms=old, source=source_at(path))
    write(tmp_path, with_india(old), "us", "jp", "in")
    async with here.opened():
        assert await accepted(here, "in-lab")


async def test_a_site_without_a_file_watches_nothing(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here:
        write(tmp_path, with_india(here.agreement), "us", "jp", "in")
        await settled()
        assert here.watch is None
        assert here.agreement.version == 1


# ---- revocation ------------------------------------------------------------------------------------------------


async def test_a_revoked_institutions_very_next_request_is_refused(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with watching(tmp_path, clock, executor=executor) as (here, terms, path):
        mine = request()
        assert (await said(here, mine, signer="jp-lab"))[0].kind == "run.accepted"
        revoke(key_of("us"), terms, path, 1_800_000_000.0, "Its key was stolen.", institution="jp-lab")
        await looked(here)
        why = "'jp-lab' is revoked since 2027-01-15T08:00:00.000000Z by us: Its key was stolen."
        assert await refusal(here, batch(here, request(), signer="jp-lab")) == why
        assert await refusal(here, batch(here, mine, signer="jp-lab")) == why
        assert await refusal(here, cancellation(here, mine.run, signer="jp-lab"), "cancel") == why
        assert executor.cancels == []
        await executor.succeed(mine.run)  # what runs goes on to its end
        assert here.runs.rows[mine.run].state == "succeeded"
        assert await accepted(here, "us-lab")
        (revoked,) = records(here, "institution.revoked")
        assert (revoked.body.institution, revoked.body.by, revoked.body.version) == ("jp-lab", "us", 1)
        assert revoked.body.key == key_of("jp-lab").public.id


async def test_users_of_a_revoked_institution_are_refused(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, terms, path):
        assert read_record((await here.enter("ada", "jp-lab", [request()]))[0]).kind == "run.accepted"
        revoke(key_of("jp"), terms, path, clock.now(), "Closed.", institution="jp-lab")
        await looked(here)
        n = len(records(here, "batch.entered"))
        with pytest.raises(Denied, match=r"revoked since .* by jp: Closed"):
            await here.enter("ada", "jp-lab", [request()])
        (refused,) = records(here, "request.refused")
        assert "asked by ada" in refused.body.reason
        assert len(records(here, "batch.entered")) == n


async def test_a_revoked_key_counts_for_whoever_has_it(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, terms, path):
        revoke(key_of("us"), terms, path, clock.now(), "Lost.", key_id=key_of("jp-lab").public.id)
        await looked(here)
        why = await refusal(here, batch(here, request(), signer="jp-lab"))
        assert why.startswith(f"The key {key_of('jp-lab').public.id} of 'jp-lab' is revoked since")
        assert await accepted(here, "us-lab")


async def test_a_run_of_a_revoked_institution_is_not_approved(tmp_path: Path, clock: HandClock) -> None:
    terms = agreement(Rule("hot", "ask", purposes=("hot",)))
    path = write(tmp_path, terms, "us", "jp")
    async with site(tmp_path, clock, FakeExecutor(), terms=terms, source=source_at(path)).opened() as here:
        (parked,) = await said(here, request(purpose="hot"), signer="jp-lab")
        revoke(key_of("us"), terms, path, clock.now(), "Stolen.", institution="jp-lab")
        await looked(here)
        assert await here.decide(parked.body.run, "ada", True) == "refused"
        assert "revoked" in here.runs.rows[parked.body.run].message


async def test_taking_the_notice_away_revokes_nothing(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, terms, path):
        revoke(key_of("us"), terms, path, clock.now(), "Stolen.", institution="jp-lab")
        await looked(here)
        revocations_path(path).unlink()
        await looked(here)
        await refusal(here, batch(here, request(), signer="jp-lab"))
    async with site(tmp_path, clock, FakeExecutor(), terms=terms, source=source_at(path)).opened() as again:
        await refusal(again, batch(again, request(), signer="jp-lab"))


async def test_a_notice_is_recorded_once_and_seen_at_the_start(tmp_path: Path, clock: HandClock) -> None:
    terms, path = in_force(tmp_path)
    revoke(key_of("us"), terms, path, clock.now(), "Stolen.", institution="jp-lab")
    for _ in range(2):
        async with site(tmp_path, clock, FakeExecutor(), terms=terms, source=source_at(path)).opened() as here:
            await refusal(here, batch(here, request(), signer="jp-lab"))
            await looked(here)
            assert len(records(here, "institution.revoked")) == 1


async def test_only_a_later_version_with_another_key_undoes_it(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        revoke(key_of("us"), old, path, clock.now(), "Stolen.", institution="jp-lab")
        await looked(here)
        same_key = changed(old)
        write(tmp_path, same_key, "us", "jp")
        await looked(here)
        assert here.agreement.version == 2
        await refusal(here, batch(here, request(), signer="jp-lab"))
        first, second = key_of("jp-lab"), another_key("jp-lab")
        new = changed(same_key, lambda text: text.replace(first.public.text, second.public.text))
        write(tmp_path, new, "us", "jp")
        await looked(here)
        assert here.agreement.version == 3
        assert "does not verify" in await refusal(here, batch(here, request(), signer="jp-lab"))
        mine = RunBatch(here.name, "jp-lab", clock.now(), (request(),))
        (answer,) = await here.submit(seal(second, RUN_BATCH, msgspec.json.encode(mine)))
        assert read_record(answer).kind == "run.accepted"


async def test_a_site_that_sees_a_notice_late_knows_which_version_it_is_about(tmp_path: Path, clock: HandClock) -> None:
    old, path = in_force(tmp_path)
    revoke(key_of("us"), old, path, clock.now(), "Stolen.", institution="jp-lab")
    first, second = key_of("jp-lab"), another_key("jp-lab")
    new = changed(old, lambda text: text.replace(first.public.text, second.public.text))
    write(tmp_path, new, "us", "jp")
    async with site(tmp_path, clock, FakeExecutor(), terms=new, source=source_at(path)).opened() as here:
        assert len(records(here, "institution.revoked")) == 1
        mine = RunBatch(here.name, "jp-lab", clock.now(), (request(),))
        (answer,) = await here.submit(seal(second, RUN_BATCH, msgspec.json.encode(mine)))
        assert read_record(answer).kind == "run.accepted"


async def test_a_notice_that_no_party_signed_is_told_and_changes_nothing(
    tmp_path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path, clock) as (here, terms, path):
        revoke(key_of("us"), terms, path, clock.now(), "Stolen.", institution="jp-lab")
        file = revocations_path(path)
        file.write_bytes(file.read_bytes().replace(b'"signer":"us"', b'"signer":"jp"'))
        for _ in range(3):
            await looked(here)
            file.write_bytes(file.read_bytes())
        assert caplog.text.count("does not verify") == 1
        assert await accepted(here, "jp-lab")


async def test_notices_count_even_where_the_agreement_cannot_be_read(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, terms, path):
        revoke(key_of("us"), terms, path, clock.now(), "Stolen.", institution="jp-lab")
        path.write_bytes(b"[")
        await looked(here)
        await refusal(here, batch(here, request(), signer="jp-lab"))


async def test_a_party_that_acceded_may_revoke(tmp_path: Path, clock: HandClock) -> None:
    async with watching(tmp_path, clock) as (here, old, path):
        new = with_india(old)
        write(tmp_path, new, "us", "jp", "in")
        revoke(key_of("in"), new, path, clock.now(), "Ours, and lost.", institution="in-lab")
        await looked(here)  # the amendment, then the notice
        assert (await refusal(here, batch(here, request(), signer="in-lab"))).endswith("by in: Ours, and lost.")
