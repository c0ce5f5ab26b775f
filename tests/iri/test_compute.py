"""Jobs through the IRI API: they go the way of every run, and only their team sees them."""

import json
from pathlib import Path
from typing import Any

import pytest
from serving import FILE, client, job, served

from fakes import FakeExecutor, balance, batch, kinds, records, request
from hand_clock import HandClock
from renkei.executors import Command, Job, JobEnd, Resources
from renkei.model.records import Evidence, read_record
from renkei.model.rule import Rule

pytestmark = pytest.mark.anyio

JOBS = "/api/v2/compute/job/cluster"
STATUS = "/api/v2/compute/status/cluster"
KEY = {"Idempotency-Key": "b1946ac9-2492-4d23-8f2e-111111111111"}


def status_of(run: str) -> str:
    return f"{STATUS}/{run}"


async def test_a_job_is_a_run_of_a_procedure_that_campaigns_are_not_offered(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, site), client(app) as http:
        answer = await http.post(JOBS, json=job())
        run = answer.json()["id"]
        assert executor.taken == [run]
        assert kinds(site)[-3:] == ["batch.entered", "run.accepted", "run.started"]
        assert balance(site, unit="node-hour") == (pytest.approx(100 - 1 / 60, abs=1e-6), 0.016667, 0)
        assert [offer.spec["name"] for offer in (await site.describe("fusion")).offers] == ["lab.measure"]
        asked = request(procedure="iri.job", parameters={"spec": "{}"})
        refused = read_record((await site.submit(batch(site, asked)))[0])
        assert [reason.id for reason in refused.body.reasons] == ["procedure.for-users"]


async def test_a_job_spec_becomes_a_command_and_its_resources(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    spec = job(
        arguments=["{x}", "a b"], directory="/scratch", environment={"A": "1"}, inherit_environment=False,
        stdin_path="in", stdout_path="out", stderr_path="err", pre_launch="module load a\nset -e", post_launch="echo",
        launcher="srun", name="one",
        resources={"node_count": 2, "processes_per_node": 4, "cpu_cores_per_process": 3, "gpu_cores_per_process": 1,
                   "exclusive_node_use": False, "memory": 1 << 30},
        attributes={"duration": 1800, "queue_name": "debug", "account": "fusion", "reservation_id": "r1",
                    "custom_attributes": {"constraint": "gpu"}},
    )  # fmt: skip
    async with served(tmp_path, clock, executor) as (app, _), client(app) as http:
        run = (await http.post(JOBS, json=spec)).json()["id"]
        made: Job = executor.jobs[run]
    assert made.target == Command(
        ("/bin/true", "{x}", "a b"), is_literal=True, directory="/scratch", environment={"A": "1"}, is_clean=True,
        stdin="in", stdout="out", stderr="err", before=("module load a", "set -e"), after=("echo",), launcher="srun",
    )  # fmt: skip
    assert made.resources == Resources(2, 8, 3, 1, 1 << 30, False, "debug", "", "r1", {"constraint": "gpu"})
    assert (made.time_limit_s, made.memory_bytes) == (1800, 1 << 30)


async def test_a_job_is_charged_for_its_time_on_all_of_its_nodes(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    spec = job(resources={"node_count": 4}, attributes={"duration": 3600, "account": "fusion"})
    async with served(tmp_path, clock, executor) as (app, site), client(app) as http:
        run = (await http.post(JOBS, json=spec)).json()["id"]
        assert balance(site, unit="node-hour") == (96, 4, 0)
        await executor.end(JobEnd(run, "succeeded", 900.0, evidence=Evidence(exit_code=0)))
        assert balance(site, unit="node-hour") == (99, 0, 1)
        shown = (await http.get(status_of(run))).json()["status"]
        assert (shown["state"], shown["exit_code"], shown["meta_data"]["charge"]) == ("completed", 0, "1 node-hour")
        (allocation,) = [
            found
            for found in (await http.get("/api/v2/account/projects/fusion/project_allocations")).json()
            if found["id"] == "fusion.node-hour"
        ]
        assert allocation["entries"][0]["usage"] == 1
        assert allocation["entries"][0]["unit"] == "urn:doe-iri:allocation:compute:node-hours"


async def test_what_a_program_does_is_its_users_fault_and_charged(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, site), client(app) as http:
        run = (await http.post(JOBS, json=job())).json()["id"]
        await executor.end(JobEnd(run, "failed", 36.0, {}, {}, "facility", True, "exit code 3", Evidence(exit_code=3)))
        shown = (await http.get(status_of(run))).json()["status"]
        assert (shown["state"], shown["exit_code"], shown["message"]) == ("failed", 3, "exit code 3")
        assert balance(site, unit="node-hour")[2] == 0.01
        lost = (await http.post(JOBS, json=job())).json()["id"]
        await executor.end(JobEnd(lost, "failed", 36.0, {}, {}, "facility", True, "node down"))
        assert balance(site, unit="node-hour")[2] == 0.01


@pytest.mark.parametrize(
    ("changes", "status", "names"),
    [
        ({"attributes": None}, 400, ["attributes.account"]),
        ({"executable": None}, 400, ["executable"]),
        ({"attributes": {"account": "quantum"}}, 403, ["attributes.account"]),
        ({"attributes": {"account": "fusion", "duration": 3601}}, 403, ["attributes.duration"]),
        ({"attributes": {"account": "fusion", "queue_name": "secret"}}, 403, ["attributes.queue_name"]),
        ({"container": {"image": "a"}}, 403, ["container"]),
        ({"resources": {"node_count": 10**30}}, 403, ["resources.node_count"]),
        (
            {"resources": {"node_count": 2, "process_count": 3, "processes_per_node": 2}},
            403,
            ["resources.process_count"],
        ),
        ({"resources": {"memory": 10**30}}, 403, ["resources.memory"]),
        ({"environment": {"A=B": "1"}}, 403, ["environment.A=B"]),
        ({"arguments": ["a\0b"]}, 403, ["body"]),
        (
            {"attributes": {"account": "fusion", "reservation_id": "a\n#SBATCH -p x"}},
            403,
            ["attributes.reservation_id"],
        ),
        (
            {"attributes": {"account": "fusion", "custom_attributes": {"a b": "c"}}},
            403,
            ["attributes.custom_attributes.a b"],
        ),
    ],
)
async def test_a_job_that_cannot_run_here_is_refused_with_everything_that_is_wrong(
    tmp_path: Path, clock: HandClock, changes: dict[str, Any], status: int, names: list[str]
) -> None:
    async with served(tmp_path, clock) as (app, site), client(app) as http:
        answer = await http.post(JOBS, json=job(**changes))
        assert answer.status_code == status
        assert [param["name"] for param in answer.json()["invalid_params"]] == names
        assert "batch.entered" not in kinds(site)


async def test_a_forwarded_project_is_trusted_from_nobody(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        answer = await http.post(JOBS, json=job(attributes={}), headers={"X-IRI-Facility-Project": "fusion"})
        assert answer.status_code == 400


async def test_agreement_policy_and_account_have_their_say(tmp_path: Path, clock: HandClock) -> None:
    rule = Rule("no-jobs", "deny", procedures=("iri.*",), reason="No jobs of strangers.")
    async with served(tmp_path / "a", clock, rules=(rule,)) as (app, site), client(app) as http:
        answer = await http.post(JOBS, json=job())
        assert (answer.status_code, answer.json()["detail"]) == (403, "No jobs of strangers.")
        assert answer.json()["invalid_params"] == [{"name": "no-jobs", "reason": "No jobs of strangers."}]
        assert kinds(site)[-1] == "run.refused"
    large = '@id("large") forbid (principal, action, resource) when { context.quantity.greaterThan(decimal("2.0")) };'
    async with served(tmp_path / "b", clock, policy=large) as (app, _), client(app) as http:
        hour = {"attributes": {"account": "fusion", "duration": 3600}}
        assert (await http.post(JOBS, json=job(**hour, resources={"node_count": 2}))).status_code == 200
        answer = await http.post(JOBS, json=job(**hour, resources={"node_count": 3}))
        assert (answer.status_code, answer.json()["invalid_params"][0]["name"]) == (403, "large")
    async with served(tmp_path / "c", clock) as (app, _), client(app) as http:
        answer = await http.post(JOBS, json=job(**hour, resources={"node_count": 101}))
        assert answer.status_code == 403
        assert "101 node-hour" in answer.json()["detail"]


async def test_a_job_that_a_person_must_approve_is_held(tmp_path: Path, clock: HandClock) -> None:
    rule = Rule("ask", "ask", procedures=("iri.*",), reason="Somebody looks first.")
    async with served(tmp_path, clock, rules=(rule,)) as (app, site), client(app) as http:
        run = (await http.post(JOBS, json=job())).json()["id"]
        shown = (await http.get(status_of(run), params={"include_spec": "true"})).json()
        assert (shown["status"]["state"], shown["status"]["message"]) == ("held", "Somebody looks first.")
        assert shown["job_spec"]["executable"] == "/bin/true"
        await site.decide(run, "carol", approved=False, note="not today")
        shown = (await http.get(status_of(run))).json()["status"]
        assert (shown["state"], "not today" in shown["message"]) == ("failed", True)


async def test_unknown_resources_and_jobs_are_not_found(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        run = (await http.post(JOBS, json=job())).json()["id"]
        for method, path in (
            ("POST", "/api/v2/compute/job/nowhere"),
            ("POST", "/api/v2/compute/job/files"),
            ("PUT", f"/api/v2/compute/job/nowhere/{run}"),
            ("PUT", f"{JOBS}/none"),
            ("GET", f"{STATUS}/none"),
            ("GET", f"/api/v2/compute/status/nowhere/{run}"),
            ("POST", "/api/v2/compute/status/nowhere"),
            ("DELETE", f"/api/v2/compute/cancel/nowhere/{run}"),
            ("DELETE", "/api/v2/compute/cancel/cluster/none"),
        ):
            body = job() if "/job/" in path else None
            assert (await http.request(method, path, json=body)).status_code == 404, path


async def test_a_team_sees_its_own_jobs_only(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, _), client(app) as alice:
        run = (await alice.post(JOBS, json=job())).json()["id"]
        async with client(app, "bob-secret") as bob, client(app, "kei-secret") as kei:
            assert (await bob.get(status_of(run))).status_code == 200
            assert (await kei.get(status_of(run))).status_code == 404
            assert (await kei.post(STATUS)).json() == []
            assert (await kei.delete(f"/api/v2/compute/cancel/cluster/{run}")).status_code == 404
            assert (await kei.put(f"{JOBS}/{run}", json=job(name="mine"))).status_code == 404
            assert executor.cancels == []
            assert [found["id"] for found in (await bob.post(STATUS)).json()] == [run]


async def test_jobs_are_listed_newest_first_and_filtered(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, _), client(app) as http:
        runs: list[str] = []
        for n in range(4):
            clock.time += 1
            runs.append((await http.post(JOBS, json=job(name=f"job {n}"))).json()["id"])
        await executor.end(JobEnd(runs[0], "succeeded", 1.0))

        async def found(params: str = "", body: Any = None) -> list[int]:
            answer = await http.post(f"{STATUS}?{params}", json=body)
            return [runs.index(shown["id"]) for shown in answer.json()]

        assert await found() == [3, 2, 1]
        assert await found("historical=true") == [3, 2, 1, 0]
        assert await found("historical=true&offset=1&limit=2") == [2, 1]
        assert await found("limit=0") == []
        assert await found("historical=true", {"state": "completed"}) == [0]
        assert await found("", {"name": ["job 1", "job 3"], "account": "fusion"}) == [3, 1]
        assert await found("limit=1", {"state": "active"}) == [3]
        assert await found("", {"colour": "red"}) == []
        assert (await http.get(status_of(runs[0]), params={"historical": "false"})).status_code == 404


async def test_the_name_of_a_job_can_be_changed_and_nothing_else(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, site), client(app) as http:
        run = (await http.post(JOBS, json=job(name="one"))).json()["id"]
        assert (await http.put(f"{JOBS}/{run}", json=job(name="two"))).json()["job_spec"]["name"] == "two"
        other = await http.put(f"{JOBS}/{run}", json=job(name="two", executable="/bin/false"))
        assert (other.status_code, other.json()["invalid_params"][0]["name"]) == (409, "executable")
        shorter = {"attributes": {"account": "fusion", "duration": 30}, "resources": {"node_count": 1}}
        other = await http.put(f"{JOBS}/{run}", json=shorter)
        assert (other.status_code, other.json()["invalid_params"][0]["name"]) == (409, "attributes.duration")
        part = await http.put(f"{JOBS}/{run}", json={"name": "part", "attributes": {"account": "fusion"}})
        assert part.json()["job_spec"] == job(name="part")
        assert (await http.put(f"{JOBS}/{run}", json={"name": "part"})).status_code == 400
        assert (await http.put(f"{JOBS}/{run}", json=job(name="two"))).status_code == 200
        await executor.end(JobEnd(run, "succeeded", 1.0))
        assert (await http.put(f"{JOBS}/{run}", json=job(name="three"))).status_code == 409
        shown = (await http.get(status_of(run), params={"include_spec": "true"})).json()
        assert shown["job_spec"]["name"] == "two"
        assert [record.body.name for record in records(site, "job.renamed")] == ["two", "part", "two"]


async def test_a_cancelled_job_is_cancelled_and_cancelling_again_changes_nothing(
    tmp_path: Path, clock: HandClock
) -> None:
    executor = FakeExecutor()
    async with served(tmp_path, clock, executor) as (app, site), client(app) as http:
        run = (await http.post(JOBS, json=job())).json()["id"]
        for _ in range(2):
            answer = await http.delete(f"/api/v2/compute/cancel/cluster/{run}")
            assert (answer.status_code, answer.content) == (204, b"")
        assert (await http.get(status_of(run))).json()["status"]["state"] == "canceled"
        assert executor.cancels == [run]
        assert [record.body.by for record in records(site, "run.cancel-asked")] == ["alice"]


async def test_the_same_key_and_body_get_the_same_answer_also_after_a_restart(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, site), client(app) as http:
        first = await http.post(JOBS, json=job(), headers=KEY)
        assert first.status_code == 200
        assert first.headers["idempotency-key-reply"] == "miss"
        reordered = json.dumps(dict(reversed(job().items())), indent=2)
        again = await http.post(JOBS, content=reordered, headers={**KEY, "Content-Type": "application/json"})
        assert (again.content, again.headers["idempotency-key-reply"]) == (first.content, "hit")
        assert len(records(site, "run.accepted")) == 1
        async with client(app, "bob-secret") as bob:
            assert (await bob.post(JOBS, json=job(), headers=KEY)).json()["id"] != first.json()["id"]
        other = await http.post(JOBS, json=job(name="other"), headers=KEY)
        assert other.status_code == 422
        assert other.json()["invalid_params"][0]["name"] == "Idempotency-Key"
    async with served(tmp_path, clock) as (app, site), client(app) as http:
        assert (await http.post(JOBS, json=job(), headers=KEY)).content == first.content
        assert len(records(site, "run.accepted")) == 2


async def test_a_key_of_a_request_that_was_refused_is_free_again(tmp_path: Path, clock: HandClock) -> None:
    spec = job(attributes={"account": "fusion", "duration": 3600}, resources={"node_count": 101})
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        assert (await http.post(JOBS, json=spec, headers=KEY)).status_code == 403
        assert (await http.post(JOBS, json=job(), headers=KEY)).status_code == 200


async def test_a_site_without_jobs_takes_none(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock, text=FILE.partition("[jobs]")[0]) as (app, _), client(app) as http:
        assert (await http.post(JOBS, json=job())).status_code == 403


async def test_a_job_goes_on_over_a_restart(tmp_path: Path, clock: HandClock) -> None:
    first, second = FakeExecutor(), FakeExecutor()
    async with served(tmp_path, clock, first) as (app, _), client(app) as http:
        run = (await http.post(JOBS, json=job())).json()["id"]
    second.survivors.add(run)
    async with served(tmp_path, clock, second) as (app, _), client(app) as http:
        assert (await http.get(status_of(run))).json()["status"]["state"] == "active"
        await second.end(JobEnd(run, "succeeded", 5.0, evidence=Evidence(exit_code=0, job="4711")))
        shown = (await http.get(status_of(run), params={"include_spec": "true"})).json()
        assert shown["status"]["state"] == "completed"
        assert shown["status"]["meta_data"]["number"] == "4711"
        assert shown["job_spec"]["resources"] == {"node_count": 1}
