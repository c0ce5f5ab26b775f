"""Facility, status, account and storage of the IRI API: what they show and what they can be searched for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import FILE, client, served

from fakes import FakeExecutor, kinds, settled
from hand_clock import HandClock

pytestmark = pytest.mark.anyio

NODE_HOURS = "urn:doe-iri:allocation:compute:node-hours"


class MoodyExecutor(FakeExecutor):
    """An executor that has problems when a test says so."""

    problems: Sequence[str] = ()

    async def check(self) -> tuple[str, ...]:
        return tuple(self.problems)


async def get(http: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await http.get(f"/api/v2/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(http: httpx.AsyncClient, path: str, **params: Any) -> list[str]:
    return [found["id"] for found in await get(http, path, **params)]


async def test_the_facility_is_what_the_file_says(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app, None) as http:
        facility = await get(http, "facility")
        assert (facility["name"], facility["short_name"]) == ("Example Laboratory", "EL")
        assert (facility["organization_name"], facility["support_uri"]) == (
            "Example Organisation", "https://example.org/help",
        )  # fmt: skip
        (site,) = await get(http, "facility/sites")
        assert facility["site_uris"] == [site["self_uri"]]
        assert (site["country_name"], site["locality_name"], site["latitude"]) == ("US", "Springfield", 44.5)
        assert await get(http, f"facility/sites/{site['id']}") == site
        assert (await http.get("/api/v2/facility/sites/other")).status_code == 404
        for params in ({"name": "x"}, {"short_name": "x"}, {"limit": 0}, {"offset": 1}):
            assert await get(http, "facility/sites", **params) == []


async def test_ids_stay_the_same_over_a_restart(tmp_path: Path, clock: HandClock) -> None:
    found: list[list[str]] = []
    for _ in range(2):
        async with served(tmp_path, clock) as (app, _), client(app, None) as http:
            found.append([(await get(http, "facility"))["id"], *await ids(http, "facility/sites")])
    assert found[0] == found[1]


async def test_a_site_whose_file_lists_no_resources_shows_its_engine(tmp_path: Path, clock: HandClock) -> None:
    text = FILE.partition("[facility]")[0] + "[jobs]\n"
    async with served(tmp_path, clock, text=text) as (app, _), client(app, None) as http:
        (resource,) = await get(http, "status/resources")
        assert (resource["id"], resource["resource_type"]) == ("compute", "urn:doe-iri:resource:compute")
        assert (await get(http, "facility"))["name"] == "us-site"


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, ["cluster", "files"]),
        ({"name": "Cluster"}, ["cluster"]),
        ({"name": "cluster"}, []),
        ({"description": "shared"}, ["files"]),
        ({"group": "main", "limit": 1}, ["cluster"]),
        ({"group": "main", "offset": 1}, ["files"]),
        ({"group": "other"}, []),
        ({"resource_type": "urn:doe-iri:resource:storage"}, ["files"]),
        ({"resource_type": "urn:doe-iri:resource:stor"}, []),
        ({"capability": NODE_HOURS}, ["cluster"]),
        ({"capability": ["urn:doe-iri:allocation:storage:bytes", NODE_HOURS]}, ["cluster"]),
        ({"capability": "urn:doe-iri:allocation:storage:bytes"}, []),
        ({"current_status": "up"}, ["cluster", "files"]),
        ({"current_status": "degraded"}, []),
        ({"modified_since": "2026-01-01T00:00:00Z"}, ["cluster", "files"]),
        ({"modified_since": "2100-01-01T00:00:00+09:00"}, []),
    ],
)
async def test_resources_are_searched(
    tmp_path: Path, clock: HandClock, params: dict[str, Any], found: list[str]
) -> None:
    async with served(tmp_path, clock) as (app, site), client(app, None) as http:
        await site.check_backend()
        assert await ids(http, "status/resources", **params) == found


async def test_an_engine_that_does_not_answer_is_an_incident_until_it_does(tmp_path: Path, clock: HandClock) -> None:
    executor = MoodyExecutor()
    async with served(tmp_path, clock, executor) as (app, site), client(app, None) as http:

        async def look() -> list[dict[str, Any]]:
            clock.time += 61
            await get(http, "status/resources")
            await settled()
            return await get(http, "status/incidents")

        assert (await get(http, "status/resources/cluster"))["current_status"] == "unknown"
        assert await look() == []
        assert (await get(http, "status/resources/cluster"))["current_status"] == "up"
        executor.problems = ["slurmctld does not answer."]
        began = clock.time + 61
        (incident,) = await look()
        assert (incident["status"], incident["resolution"], "end" in incident) == ("down", "unresolved", False)
        assert incident["description"] == "slurmctld does not answer."
        cluster = await get(http, "status/resources/cluster")
        assert cluster["current_status"] == "down"
        assert incident["resource_uris"] == [cluster["self_uri"]]
        assert await look() == [incident]
        executor.problems = []
        (over,) = await look()
        assert (over["id"], over["status"], over["resolution"]) == (incident["id"], "up", "completed")
        assert await get(http, f"status/incidents/{over['id']}") == over
        assert kinds(site).count("backend.changed") == 3

        events = await get(http, "status/events")
        assert [event["status"] for event in events] == ["up", "down", "up"]
        assert [event["incident_uri"] for event in events] == [over["self_uri"], over["self_uri"], None]
        assert set(over["event_uris"]) == {event["self_uri"] for event in events[:2]}
        assert await get(http, f"status/events/{events[0]['id']}") == events[0]

        def at(seconds: float) -> str:
            from renkei.clock import iso

            return iso(began + seconds)

        for params, n in (
            ({"status": "down"}, 0), ({"status": "up"}, 1), ({"type": "planned"}, 0), ({"resolution": "completed"}, 1),
            ({"resource_id": "cluster"}, 1), ({"resource_id": "files"}, 0), ({"name": "fake does not run jobs"}, 1),
            ({"description": "slurm"}, 1), ({"from": at(300)}, 0), ({"from": at(10)}, 1), ({"to": at(-1)}, 0),
            ({"to": at(10)}, 1), ({"time": at(10)}, 1), ({"time": at(300)}, 0), ({"modified_since": at(10)}, 1),
            ({"modified_since": at(300)}, 0), ({"offset": 1}, 0),
        ):  # fmt: skip
            assert len(await get(http, "status/incidents", **params)) == n, params
        for params, n in (
            ({"incident_id": over["id"]}, 2), ({"incident_id": "x"}, 0), ({"status": "down"}, 1), ({"from": at(1)}, 1),
            ({"to": at(-1)}, 1), ({"time": at(0)}, 1), ({"resource_id": "files"}, 0), ({"name": "Cluster is down"}, 1),
            ({"description": "slurm"}, 1), ({"modified_since": at(0)}, 2), ({"limit": 2}, 2),
        ):  # fmt: skip
            assert len(await get(http, "status/events", **params)) == n, params
    async with served(tmp_path, clock, MoodyExecutor()) as (app, _), client(app, None) as http:
        assert await get(http, "status/incidents") == [over]


async def test_a_user_has_the_project_and_the_allocations_of_its_team(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        assert await get(http, "account/whoami") == {"username": "alice"}
        (project,) = await get(http, "account/projects")
        assert (project["id"], project["user_ids"]) == ("fusion", ["alice", "bob"])
        assert await get(http, "account/projects/fusion") == project
        allocations = await get(http, "account/projects/fusion/project_allocations")
        assert [(found["id"], found["entries"][0]["allocation"]) for found in allocations] == [
            ("fusion.node-hour", 100), ("fusion.run", 50),
        ]  # fmt: skip
        capability = (await http.get(allocations[0]["capability_uri"])).json()
        assert capability["units"] == [allocations[0]["entries"][0]["unit"]] == [NODE_HOURS]
        mine = "account/projects/fusion/project_allocations/fusion.run/user_allocations"
        (user,) = await get(http, mine)
        assert await get(http, f"{mine}/{user['id']}") == user
        for path in (
            "account/projects/quantum", "account/projects/fusion/project_allocations/none", f"{mine}/none",
            "account/projects/quantum/project_allocations", "account/capabilities/none",
        ):  # fmt: skip
            assert (await http.get(f"/api/v2/{path}")).status_code == 404, path


async def test_capabilities_are_searched(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app, None) as http:
        for params, found in (
            ({}, ["node-hour", "run"]), ({"name": "run"}, ["run"]), ({"name": "sample"}, []), ({"offset": 1}, ["run"]),
            ({"limit": 1}, ["node-hour"]), ({"modified_since": "2100-01-01T00:00:00Z"}, []),
        ):  # fmt: skip
            assert await ids(http, "account/capabilities", **params) == found
        assert (await http.get("/api/v2/account/capabilities?offset=1001")).status_code == 422


async def test_storage_is_the_root_that_users_see(tmp_path: Path, clock: HandClock) -> None:
    readonly = '[[resources]]\nid = "archive"\nname = "A"\ntype = "storage"\nroot = "files"\nreadonly = true\n'
    async with served(tmp_path, clock, more=readonly) as (app, _), client(app) as http:
        (location,) = await get(http, "storage/locations/files")
        assert (location["path"], location["access"]["write"]) == ("/", True)
        (location,) = await get(http, "storage/locations/archive")
        assert location["access"]["write"] is False
        for resource, params, n in (
            ("archive", {"intent": "write"}, 0), ("archive", {"intent": "read"}, 1), ("files", {"intent": "write"}, 1),
            ("files", {"intent": "long-term-storage"}, 0), ("files", {"logicalpath": "home"}, 0),
            ("files", {"logicalpath": "shared"}, 1), ("files", {"project": "fusion"}, 1),
            ("files", {"project": "quantum"}, 0), ("files", {"allocation": "fusion.run"}, 1),
        ):  # fmt: skip
            assert len(await get(http, f"storage/locations/{resource}", **params)) == n, (resource, params)
        assert await get(http, "storage/access-endpoints/files", protocol="s3") == []
        assert (await http.get("/api/v2/storage/locations/cluster")).status_code == 404


async def test_version_one_has_its_own_words(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:

        async def one(path: str) -> Any:
            return (await http.get(f"/api/v1/{path}")).json()

        assert [found["resource_type"] for found in await one("status/resources")] == ["compute", "storage"]
        assert [found["id"] for found in await one("status/resources?resource_type=storage")] == ["files"]
        assert [found["id"] for found in await one("status/resources?capability=node_hours")] == ["cluster"]
        assert [found["units"] for found in await one("account/capabilities")] == [["node_hours"]]
        (hours,) = await one("account/projects/fusion/project_allocations")
        assert hours["entries"][0]["unit"] == "node_hours"
        assert (await one("facility"))["self_uri"] == "http://site.test/api/v1/facility"
        assert (await http.get(f"/api/v1/status/resources?capability={NODE_HOURS}")).status_code == 422
