"""The part "account": who asks, the user's project, and what the site's books say of it.

A project is a team of the agreement. The site's books know teams only, so every member may use all that is allocated to
the team, and its usage is the team's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec

from renkei.accounts import Books
from renkei.api.iri._http import (
    Call,
    Filter,
    Moment,
    Operation,
    Page,
    Reply,
    Since,
    is_unchanged,
    not_found,
    reply,
)
from renkei.api.iri._place import V1_UNITS, Place, urn_of
from renkei.clock import iso
from renkei.model.quantity import MICRO


class CapabilitiesQuery(Page, frozen=True, kw_only=True):
    """What capabilities are searched for."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    name: Filter | None = None
    modified_since: Moment | None = None


def _project(place: Place, call: Call) -> dict[str, Any]:
    """Return the caller's project.

    Raises:
        Problem: There is none of that name that the caller belongs to.
    """
    team = call.identity.team
    if call.path.get("project_id", team) != team or team not in place.context.site.agreement.teams:
        raise not_found("project", call.path.get("project_id", team))
    file = place.context.file
    users = [table.user for table in file.tokens if table.team == team]
    users += [table.user for table in file.accounts if table.team == team and table.user is not None]
    agreement = place.context.site.agreement
    return {
        "id": team,
        "name": agreement.teams[team].name,
        "description": f"Team '{team}' of the agreement '{agreement.title or agreement.name}'.",
        "user_ids": sorted({*users, call.identity.user}),
        "last_modified": iso(place.since),
        "self_uri": call.url("account", "projects", team),
    }


def _allocations(books: Books, call: Call) -> list[dict[str, Any]]:
    """Return what the caller's project may use, one allocation for each unit."""
    team = call.identity.team
    found: list[dict[str, Any]] = []
    for row in sorted(books.rows.values(), key=lambda row: row.unit):
        if row.team == team and (not call.is_v1 or row.unit in V1_UNITS):
            entry = {
                "allocation": -row.granted / MICRO,
                "usage": row.spent / MICRO,
                "unit": V1_UNITS[row.unit] if call.is_v1 else urn_of(row.unit),
                "attributes": {"reserved": row.reserved / MICRO, "available": row.available / MICRO},
            }
            found.append(
                {
                    "id": f"{team}.{row.unit}",
                    "entries": [entry],
                    "project_uri": call.url("account", "projects", team),
                    "capability_uri": call.url("account", "capabilities", row.unit),
                }
            )
    return found


def _one(found: Sequence[dict[str, Any]], what: str, name: str) -> dict[str, Any]:
    for item in found:
        if item["id"] == name:
            return item
    raise not_found(what, name)


def operations(place: Place, root: str) -> Sequence[Operation]:
    """Return the operations below `root`, for example "/api/v2"."""
    books = place.context.site.books
    is_v1 = root.endswith("/v1")

    def units() -> list[str]:
        return [unit for unit in place.units if not is_v1 or unit in V1_UNITS]

    def allocation(call: Call) -> dict[str, Any]:
        _project(place, call)
        return _one(_allocations(books, call), "allocation", call.path["project_allocation_id"])

    def user_allocations(call: Call) -> list[dict[str, Any]]:
        found, user = allocation(call), call.identity.user
        uri = call.url("account", "projects", call.identity.team, "project_allocations", found["id"])
        return [
            {
                "id": f"{found['id']}.{user}",
                "user_id": user,
                "entries": found["entries"],
                "project_allocation_uri": uri,
                "attributes": {"is_shared": True},
            }
        ]

    async def whoami(call: Call) -> Reply:
        return reply({"username": call.identity.user})

    async def get_capabilities(call: Call) -> Reply:
        query: CapabilitiesQuery = call.query
        is_old = is_unchanged(place.since, query.modified_since)
        wanted = [unit for unit in units() if query.name in (None, unit) and not is_old]
        return reply([place.capability(call, unit) for unit in query.of(wanted)], modified=place.since)

    async def get_capability(call: Call) -> Reply:
        query: Since = call.query
        if call.path["capability_id"] not in units():
            raise not_found("capability", call.path["capability_id"])
        if is_unchanged(place.since, query.modified_since):
            return Reply(status=304)
        return reply(place.capability(call, call.path["capability_id"]), modified=place.since)

    async def get_projects(call: Call) -> Reply:
        is_member = call.identity.team in place.context.site.agreement.teams
        return reply([_project(place, call)] if is_member else [])

    async def get_project(call: Call) -> Reply:
        return reply(_project(place, call), modified=place.since)

    async def get_project_allocations(call: Call) -> Reply:
        _project(place, call)
        return reply(_allocations(books, call))

    async def get_project_allocation(call: Call) -> Reply:
        return reply(allocation(call))

    async def get_user_allocations(call: Call) -> Reply:
        return reply(user_allocations(call))

    async def get_user_allocation(call: Call) -> Reply:
        return reply(_one(user_allocations(call), "allocation", call.path["user_allocation_id"]))

    here = f"{root}/account"
    mine = f"{here}/projects/{{project_id}}/project_allocations"
    users = f"{mine}/{{project_allocation_id}}/user_allocations"
    get = partial(Operation, "GET")
    return [
        get(f"{here}/whoami", "whoami", whoami),
        get(f"{here}/capabilities", "getCapabilities", get_capabilities, CapabilitiesQuery, is_open=True),
        get(f"{here}/capabilities/{{capability_id}}", "getCapability", get_capability, Since, is_open=True),
        get(f"{here}/projects", "getProjects", get_projects),
        get(f"{here}/projects/{{project_id}}", "getProject", get_project),
        get(mine, "getProjectAllocationsByProject", get_project_allocations),
        get(f"{mine}/{{project_allocation_id}}", "getProjectAllocationByProject", get_project_allocation),
        get(users, "getUserAllocationsByProjectAllocation", get_user_allocations),
        get(f"{users}/{{user_allocation_id}}", "getUserAllocationByProjectAllocation", get_user_allocation),
    ]
