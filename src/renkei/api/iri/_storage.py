"""The part "storage": where a user's files lie.

Data move through the part "filesystem" only, so there are no access endpoints.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from renkei.api.iri._http import Call, Operation, Reply, not_found, reply
from renkei.api.iri._place import Place, Resource


class LocationsQuery(msgspec.Struct, frozen=True):
    """What locations are searched for."""

    logicalpath: Literal["home", "scratch", "project", "campaign", "archive", "shared", "temporary"] | None = None
    project: str | None = None
    allocation: str | None = None
    intent: Literal["read", "write", "staging", "long-term-storage"] | None = None


class EndpointsQuery(msgspec.Struct, frozen=True):
    """What access endpoints are searched for."""

    protocol: Literal["globus", "xrootd", "s3"] | None = None
    endpoint_id: str | None = None


def operations(place: Place, root: str) -> Sequence[Operation]:
    """Return the operations below `root`, for example "/api/v2"."""

    def storage(call: Call) -> Resource:
        resource = place.resources.get(call.path["resource_id"])
        if resource is None or resource.type != "storage":
            raise not_found("storage resource", call.path["resource_id"])
        return resource

    async def get_locations(call: Call) -> Reply:
        resource, query = storage(call), call.query
        asked: LocationsQuery = query
        team = call.identity.team
        is_mine = asked.project in (None, team) and (
            asked.allocation in (None, team) or (asked.allocation or "").startswith(f"{team}.")
        )
        is_fit = asked.intent not in ("long-term-storage", *(("write",) if resource.is_readonly else ()))
        if not (resource.root and is_mine and is_fit and asked.logicalpath in (None, "shared")):
            return reply([])
        access = {"read": True, "write": not resource.is_readonly, "execute": True}
        location = {"logical_name": "shared", "path": "/", "filesystem": resource.id, "shared": True, "access": access}
        return reply([location])

    async def get_endpoints(call: Call) -> Reply:
        storage(call)
        return reply([])

    here = f"{root}/storage"
    return [
        Operation("GET", f"{here}/locations/{{resource_id}}", "getStorageLocations", get_locations, LocationsQuery),
        Operation(
            "GET",
            f"{here}/access-endpoints/{{resource_id}}",
            "getStorageAccessEndpoints",
            get_endpoints,
            EndpointsQuery,
        ),
    ]
