"""The part "compute": jobs on the site's resources, as runs of `iri.job`; a job's id is its run's.

A job goes the way of every run: `Site.enter`, policy, reservation, executor, charge. So what is known of a job is what
the run table and the ledger have.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from renkei.api._context import Context
from renkei.api.iri._http import Call, InvalidParam, Operation, Page, Problem, Reply, not_found, reply
from renkei.api.iri._place import Place, Resource
from renkei.api.iri._status import Watch
from renkei.api.iri._store import Answer, Attempt, Store
from renkei.federation import RunRequest
from renkei.ids import IdMint
from renkei.model.quantity import Quantity
from renkei.model.records import BatchEntered, JobRenamed, RunEnded, RunRefused, read_record
from renkei.site import JOB, JobSpec, RunRow, job_problems

ORIGIN = "iri"
"""What runs of jobs have as their campaign; their trial is the resource's id."""

STATES = {
    "parked": "held",
    "accepted": "queued",
    "succeeded": "completed",
    "infeasible": "failed",
    "failed": "failed",
    "lost": "failed",
    "cancelled": "canceled",
    "refused": "failed",
}
"""States of runs in the words of the IRI API; a run that was started is where its engine says, else active."""

_OVER = frozenset({"completed", "failed", "canceled"})
_STATUS = {"denied": 403, "allocation": 403, "conflict": 409, "invalid": 400}

Flag = Literal["true", "false"]


class JobQuery(msgspec.Struct, frozen=True):
    """How a job is shown."""

    historical: Flag = "true"
    include_spec: Flag = "false"


class JobsQuery(Page, frozen=True, kw_only=True):
    """How jobs are shown, and which part of them."""

    historical: Flag = "false"
    include_spec: Flag = "false"


class Jobs:
    """The operations on jobs.

    Args:
        place: The site.
        watch: The state of its resources.
        store: Keeps answers to requests with an Idempotency-Key.
    """

    def __init__(self, place: Place, watch: Watch, store: Store) -> None:
        self._place, self._watch, self._store = place, watch, store
        self._context: Context = place.context
        self._mint = IdMint(place.context.clock)

    # ---- operations ------------------------------------------------------------------------------------------

    async def resources(self, call: Call) -> Reply:
        """Answer with the resources that jobs run on."""
        self._watch.look()
        return reply([self._watch.shown(call, resource) for resource in self._place.compute])

    async def launch(self, call: Call) -> Reply:
        """Submit a job."""
        resource, spec = self._resource(call), self._checked(call)
        return await self._once(call, resource, partial(self._launch, call, resource, spec))

    async def _launch(self, call: Call, resource: Resource, spec: JobSpec, run: str) -> Reply:
        who = call.identity
        text = msgspec.json.encode(spec).decode()
        request = RunRequest(run, who.team, ORIGIN, resource.id, JOB, "", {"spec": text})
        said = await self._context.site.enter(who.user, who.institution, [request])
        row = self._context.site.runs.rows.get(run)
        if row is None or row.state == "refused" or row.request != request.digest:
            body: RunRefused = read_record(said[0]).body
            raise Problem(
                _STATUS.get(body.code, 400),
                "; ".join(reason.text or reason.id for reason in body.reasons),
                [InvalidParam(reason.id, reason.text) for reason in body.reasons],
            )
        await self._durable([row])
        return reply(self._shown(row, spec))

    async def update(self, call: Call) -> Reply:
        """Change what can be changed of a job: its name."""
        resource, row = self._resource(call), self._row(call)
        self._check_account(call)
        await self._durable([row])
        return await self._once(call, resource, partial(self._update, call, row))

    async def _update(self, call: Call, row: RunRow, attempt: str) -> Reply:
        del attempt  # to name a job twice is no different from naming it once
        spec: JobSpec = call.body
        given: dict[str, Any] = msgspec.json.decode(call.raw)  # what is left out stays as it is
        old = self._spec(row)
        if changed := _changed(given, spec, old):
            text = "only the name of a job can be changed once it is submitted"
            raise Problem(409, f"{text}.", [InvalidParam(name, text) for name in changed])
        if "name" in given and spec.name != old.name:
            if row.state not in ("parked", "accepted", "started"):
                raise Problem(409, "The job is over; nothing of it can be changed.", [InvalidParam("name", "too late")])
            await self._context.site.rename_job(row.run, call.identity.user, spec.name or "")
            old = msgspec.structs.replace(old, name=spec.name)
        return reply(self._shown(row, old))

    async def show(self, call: Call) -> Reply:
        """Answer with one job."""
        self._resource(call)
        query: JobQuery = call.query
        row = self._row(call)
        await self._durable([row])
        shown = self._shown(row, self._spec(row) if query.include_spec == "true" else None)
        if query.historical == "false" and shown["status"]["state"] in _OVER:
            raise not_found("job at work", row.run)
        return reply(shown)

    async def find(self, call: Call) -> Reply:
        """Answer with the jobs of the caller's team, newest first."""
        resource, team = self._resource(call), call.identity.team
        query: JobsQuery = call.query
        filters: dict[str, Any] = call.body or {}
        runs = self._context.site.runs
        rows = runs.rows if query.historical == "true" else {**runs.live, **runs.parked}
        mine = [row for row in rows.values() if row.procedure == JOB and row.team == team and row.trial == resource.id]
        mine.sort(key=lambda row: row.run, reverse=True)
        if not filters:
            mine = query.of(mine)
        await self._durable(mine)
        if filters:
            mine = query.of([row for row in mine if _fits(filters, self._facts(row))])
        is_with_spec = query.include_spec == "true"
        return reply([self._shown(row, self._spec(row) if is_with_spec else None) for row in mine])

    async def cancel(self, call: Call) -> Reply:
        """End a job early; one that is over stays as it is."""
        self._resource(call)
        await self._context.site.cancel_run(self._row(call).run, call.identity.user)
        return Reply(status=204)

    # ---- inside ----------------------------------------------------------------------------------------------

    def _resource(self, call: Call) -> Resource:
        """Return the compute resource that is asked for; only where the site takes jobs is there any."""
        resource = self._place.resources.get(call.path["resource_id"])
        if resource is None or resource.type != "compute":
            raise not_found("compute resource", call.path["resource_id"])
        return resource

    def _row(self, call: Call) -> RunRow:
        row = self._context.site.runs.rows.get(call.path["job_id"])
        if (
            row is None
            or row.procedure != JOB
            or row.team != call.identity.team
            or row.trial != call.path["resource_id"]
        ):
            raise not_found("job", call.path["job_id"])
        return row

    def _checked(self, call: Call) -> JobSpec:
        """Return the job of a request.

        Raises:
            Problem: It cannot run here; says everything that is wrong with it.
        """
        table = self._context.file.jobs
        if table is None:
            raise Problem(403, "This site takes no jobs: its file has no [jobs].")
        spec: JobSpec = call.body
        self._check_account(call)
        if spec.executable is None and spec.container is None:
            raise _refused(400, {"executable": "a job needs one"})
        if wrong := job_problems(spec, table):
            raise _refused(403, wrong)  # a job as the interface document has it, but none that this site runs
        return spec

    def _check_account(self, call: Call) -> None:
        """Check that a request names the caller's own account, in the only place where this site looks for it.

        Raises:
            Problem: It does not.
        """
        spec: JobSpec = call.body
        account, team = spec.how.account, call.identity.team
        if b"x-iri-facility-project" in call.headers:
            text = "this site trusts nobody to send it; say it in attributes.account"
            raise _refused(400, {"X-IRI-Facility-Project": text})
        if account is None and not call.is_v1:
            raise _refused(400, {"attributes.account": f"a job needs one; yours is '{team}'"})
        if account not in (None, team):
            raise _refused(403, {"attributes.account": f"you may use the account '{team}' and no other"})

    async def _once(self, call: Call, resource: Resource, act: Callable[[str], Awaitable[Reply]]) -> Reply:
        """Do what is asked; once only, where the request has an Idempotency-Key."""
        key = call.headers.get(b"idempotency-key", b"").decode("latin-1")
        if not key:
            return await act(self._mint.new())
        if len(key) > 255:
            raise Problem(400, "The Idempotency-Key is too long.", [InvalidParam("Idempotency-Key", "at most 255")])
        who = call.identity
        user = f"{who.institution}/{who.team}/{who.user}"
        name = f"{call.operation.root}:{call.operation.name}"
        target = "/".join((resource.id, call.path.get("job_id", "")))
        same = msgspec.json.encode(msgspec.json.decode(call.raw), order="sorted")  # blanks and order do not count
        found = await self._store.begin(user, name, target, key, hashlib.sha256(same).digest())
        match found:
            case Answer():
                return Reply(found.body, found.status, headers=[(b"idempotency-key-reply", b"hit")])
            case Attempt():
                return await self._attempt(found, act)
            case "in progress":
                raise Problem(409, "The same request is at work.", [InvalidParam("Idempotency-Key", "in use")])
            case "other body":
                text = "it was used for another body"
                raise Problem(422, f"Idempotency-Key: {text}.", [InvalidParam("Idempotency-Key", text)])

    async def _attempt(self, attempt: Attempt, act: Callable[[str], Awaitable[Reply]]) -> Reply:
        try:
            answer = await act(attempt.id)
        except Problem:
            await self._store.release(attempt, forget=True)  # nothing came of it
            raise
        except BaseException:
            await self._store.release(attempt, forget=False)
            raise
        await self._store.answer(attempt, answer.status, answer.body)
        return Reply(answer.body, answer.status, headers=[(b"idempotency-key-reply", b"miss")])

    async def _durable(self, rows: Sequence[RunRow]) -> None:
        """Return when all that is known of these runs is on disk: before that, nobody may be told."""
        ledger = self._context.site.ledger
        while any(row.said >= ledger.durable_size or row.renamed >= ledger.durable_size for row in rows):
            await ledger.sync()

    def _state(self, row: RunRow) -> tuple[str, dict[str, Any]]:
        """Return where a job stands, and what its engine says of it."""
        if row.state != "started":
            return STATES[row.state], {}
        seen = self._context.site.look(row.run)
        if seen is None:
            return "active", {}
        return seen.state, {key: value for key, value in (("raw", seen.raw), ("number", seen.number)) if value}

    def _shown(self, row: RunRow, spec: JobSpec | None = None) -> dict[str, Any]:
        state, engine = self._state(row)
        status: dict[str, Any] = {"state": state, "time": row.started_at or row.at, "meta_data": engine}
        if row.message:
            status["message"] = row.message
        if state in _OVER:
            status |= self._end(row, engine)
        shown: dict[str, Any] = {"id": row.run, "status": status}
        return shown if spec is None else shown | {"job_spec": spec}

    def _end(self, row: RunRow, facts: dict[str, Any]) -> dict[str, Any]:
        """Return what the ledger says of a job that is over."""
        record = read_record(self._context.site.ledger.read(row.said))
        body = record.body
        if not isinstance(body, RunEnded):
            cancelled = isinstance(body, RunRefused) and body.code == "cancelled"
            return {"time": record.at, "state": "canceled" if cancelled else "failed"}
        facts = {
            **facts,
            "outcome": body.outcome,
            "run_s": body.run_s,
            "queue_s": body.queue_s,
            "charge": str(Quantity(body.charge, body.unit)),
        }
        end: dict[str, Any] = {"time": record.at, "meta_data": facts}
        if body.evidence is not None:
            if body.evidence.exit_code is not None:
                end["exit_code"] = body.evidence.exit_code
            pairs = (("raw", body.evidence.raw_state), ("number", body.evidence.job), ("signal", body.evidence.signal))
            facts.update({name: value for name, value in pairs if value})
        return end

    def _spec(self, row: RunRow) -> JobSpec:
        """Return the job that was asked for, by the name that it has now."""
        site = self._context.site
        batch = read_record(site.ledger.read(row.batch)).body
        spec = JobSpec()
        if isinstance(batch, BatchEntered):
            for request in _read_requests(batch.payload):
                if request.run == row.run:
                    spec = msgspec.json.decode(str(request.parameters["spec"]), type=JobSpec)
        renamed = read_record(site.ledger.read(row.renamed)).body if row.renamed else None
        return msgspec.structs.replace(spec, name=renamed.name or None) if isinstance(renamed, JobRenamed) else spec

    def _facts(self, row: RunRow) -> dict[str, object]:
        """Return what jobs can be searched for."""
        spec = self._spec(row)
        shown = self._shown(row)
        return {
            "id": row.run,
            "job_id": row.run,
            "state": shown["status"]["state"],
            "name": spec.name,
            "executable": spec.executable,
            "account": spec.how.account,
            "queue_name": spec.how.queue_name,
            "exit_code": shown["status"].get("exit_code"),
        }

    def operations(self, root: str) -> Sequence[Operation]:
        """Return the operations below `root`, for example "/api/v2"."""
        here, mine = f"{root}/compute", "{resource_id}/{job_id}"
        filters = dict[str, Any] | None
        return [
            Operation("GET", f"{here}/resources", "getComputeResources", self.resources, is_open=True),
            Operation("POST", f"{here}/job/{{resource_id}}", "launchJob", self.launch, body=JobSpec),
            Operation("PUT", f"{here}/job/{mine}", "updateJob", self.update, body=JobSpec),
            Operation("GET", f"{here}/status/{mine}", "getJob", self.show, JobQuery),
            Operation(
                "POST", f"{here}/status/{{resource_id}}", "getJobs", self.find, JobsQuery, filters, may_lack_body=True
            ),
            Operation("DELETE", f"{here}/cancel/{mine}", "cancelJob", self.cancel),
        ]


def _changed(given: dict[str, Any], spec: JobSpec, old: JobSpec) -> list[str]:
    """Return the fields, other than the name, that a request gives another value than a job has."""
    found: list[str] = []
    for name in given:
        mine, other = getattr(spec, name), getattr(old, name)
        if name in ("attributes", "resources") and isinstance(given[name], dict):
            now, before = (spec.how, old.how) if name == "attributes" else (spec.needs, old.needs)
            known = [key for key in given[name] if key in now.__struct_fields__]
            found += [f"{name}.{key}" for key in known if getattr(now, key) != getattr(before, key)]
        elif name != "name" and mine != other:
            found.append(name)
    return found


def _refused(status: int, wrong: dict[str, str]) -> Problem:
    detail = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
    return Problem(status, f"{detail}.", [InvalidParam(name, reason) for name, reason in wrong.items()])


_read_requests = msgspec.json.Decoder(tuple[RunRequest, ...]).decode


def _fits(filters: dict[str, Any], facts: dict[str, object]) -> bool:
    """Return whether a job has all that is asked for; a list stands for any of its items."""
    for name, wanted in filters.items():
        if name not in facts or facts[name] not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True
