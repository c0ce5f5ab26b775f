"""The part "status": resources, and incidents and events as the site's ledger has them."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from renkei.api.iri._http import Call, Filter, Moment, Operation, Page, Reply, links, not_found, reply
from renkei.api.iri._place import V1_UNITS, Place, Resource, urn_of
from renkei.clock import iso
from renkei.site import BackendRow

CHECK_S = 60.0
"""How old the last look at the engine may be, when somebody asks, until it is looked at again."""

_NSS = r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}|[!$&'()*+,;=@]|/)+"
Status = Literal["up", "down", "degraded", "unknown"]
TypeUrn = Annotated[
    str, msgspec.Meta(min_length=15, pattern=f"^urn:doe-iri:[A-Za-z0-9][A-Za-z0-9-]{{0,31}}:{_NSS}(?::{_NSS})*$")
]
UnitUrn = Annotated[str, msgspec.Meta(min_length=24, pattern=f"^urn:doe-iri:allocation:{_NSS}(?::{_NSS})*$")]


class _Resources(Page, frozen=True, kw_only=True):
    name: Filter | None = None
    description: Filter | None = None
    group: Filter | None = None
    modified_since: Moment | None = None
    current_status: Status | None = None


class ResourcesQuery(_Resources, frozen=True, kw_only=True):
    """What resources are searched for, in version 2."""

    resource_type: TypeUrn | None = None
    capability: tuple[UnitUrn, ...] = ()


class ResourcesQueryV1(_Resources, frozen=True, kw_only=True):
    """The same in version 1."""

    resource_type: Literal["website", "service", "compute", "system", "storage", "network", "unknown"] | None = None
    capability: tuple[Literal["node_hours", "bytes", "inodes"], ...] = ()


class _Times(Page, frozen=True, kw_only=True):
    name: Filter | None = None
    description: Filter | None = None
    status: Status | None = None
    start: Moment | None = msgspec.field(default=None, name="from")
    time: Moment | None = None
    to: Moment | None = None
    modified_since: Moment | None = None
    resource_id: Filter | None = None


class IncidentsQuery(_Times, frozen=True, kw_only=True):
    """What incidents are searched for."""

    type: Literal["planned", "unplanned", "reservation"] | None = None
    resolution: Literal["unresolved", "cancelled", "completed", "extended", "pending"] | None = None


class EventsQuery(_Times, frozen=True, kw_only=True):
    """What events are searched for."""

    incident_id: Filter | None = None


class Watch:
    """What is known of the state of a site's resources.

    Args:
        place: The site.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._looked = -CHECK_S
        self._folders: dict[str, bool] = {}

    def look(self) -> None:
        """Have engine and folders looked at again where the last look is old; the answer to that comes later."""
        clock = self._place.context.clock
        if clock.monotonic() - self._looked < CHECK_S:
            return
        self._looked = clock.monotonic()
        self._folders = {name: Path(it.root).is_dir() for name, it in self._place.resources.items() if it.root}
        self._place.context.site.check_soon()

    def status(self, resource: Resource) -> Status:
        """Return the state of a resource when it was last looked at."""
        backend = self._place.context.site.backend
        is_up = backend.is_up if resource.type == "compute" else self._folders.get(resource.id)
        return "unknown" if is_up is None else "up" if is_up else "down"

    def changed(self, resource: Resource) -> float:
        """Return when that state, or anything else about a resource, last changed."""
        last = self._place.context.site.backend.last
        return max(self._place.since, last.at) if last is not None and resource.type == "compute" else self._place.since

    def shown(self, call: Call, resource: Resource) -> dict[str, Any]:
        """Return a resource as JSON."""
        place, href = self._place, call.url("status", "resources", resource.id)
        found: dict[str, Any] = {
            "id": resource.id,
            "name": resource.name,
            "description": resource.description,
            "last_modified": iso(self.changed(resource)),
            "current_status": self.status(resource),
            "resource_type": resource.type if call.is_v1 else resource.urn,
            "supported_endpoints": _endpoints(resource),
            "self_uri": href,
            "site_uri": call.url("facility", "sites", place.site_id),
            "capability_uris": [
                call.url("account", "capabilities", unit) for unit in place.units_of(resource, is_v1=call.is_v1)
            ],
            "_links": links(href),
        }
        return found if resource.group is None else found | {"group": resource.group}


def _endpoints(resource: Resource) -> list[str]:
    if resource.type == "compute":
        return ["compute"]
    return ["filesystem"] if resource.type == "storage" and resource.root else []


def _history(place: Place, call: Call) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return incidents and events, newest first: each change of the engine is an event of every compute resource."""
    incidents: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    resources = [call.url("status", "resources", resource.id) for resource in place.compute]
    for change in place.context.site.backend.changes_seen:
        if not change.is_up and (not incidents or incidents[-1]["status"] == "up"):
            incidents.append(_incident(place, call, change, resources))
        known = incidents[-1] if incidents and (not change.is_up or incidents[-1]["status"] == "down") else None
        for resource, href in zip(place.compute, resources, strict=True):
            event = _event(place, call, change, resource, href, known)
            events.append(event)
            if known is not None:
                known["event_uris"].append(event["self_uri"])
        if known is not None:
            known["last_modified"] = iso(change.at)
            if change.is_up:
                known |= {"status": "up", "end": iso(change.at), "resolution": "completed"}
    return incidents[::-1], events[::-1]


def _incident(place: Place, call: Call, change: BackendRow, resources: list[str]) -> dict[str, Any]:
    made = place.id_of("incident", change.seq)
    href = call.url("status", "incidents", made)
    return {
        "id": made,
        "name": f"{place.context.site.executor} does not run jobs",
        "description": " ".join(change.problems),
        "last_modified": iso(change.at),
        "status": "down",
        "start": iso(change.at),
        "type": "unplanned",
        "resolution": "unresolved",
        "self_uri": href,
        "event_uris": [],
        "resource_uris": resources,
        "_links": links(href),
    }


def _event(
    place: Place, call: Call, change: BackendRow, resource: Resource, resource_uri: str, incident: dict[str, Any] | None
) -> dict[str, Any]:
    made = place.id_of("event", change.seq, resource.id)
    href = call.url("status", "events", made)
    return {
        "id": made,
        "name": f"{resource.name} is {'up' if change.is_up else 'down'}",
        "description": " ".join(change.problems),
        "last_modified": iso(change.at),
        "occurred_at": iso(change.at),
        "status": "up" if change.is_up else "down",
        "self_uri": href,
        "resource_uri": resource_uri,
        "incident_uri": None if incident is None else incident["self_uri"],
        "_links": links(href),
    }


def _fits(query: _Times, found: dict[str, Any], resources: Sequence[str], call: Call) -> bool:
    resource = query.resource_id
    return (
        query.name in (None, found["name"])
        and (query.description is None or query.description in found["description"])
        and query.status in (None, found["status"])
        and (query.modified_since is None or _moment(found["last_modified"]) >= query.modified_since)
        and (resource is None or call.url("status", "resources", resource) in resources)
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _incident_fits(query: IncidentsQuery, found: dict[str, Any], call: Call) -> bool:
    begin, end = _moment(found["start"]), _moment(found["end"]) if "end" in found else None
    return (
        _fits(query, found, found["resource_uris"], call)
        and query.type in (None, found["type"])
        and query.resolution in (None, found["resolution"])
        and (query.start is None or end is None or end >= query.start)
        and (query.to is None or begin <= query.to)
        and (query.time is None or (begin <= query.time and (end is None or query.time <= end)))
    )


def _event_fits(query: EventsQuery, found: dict[str, Any], call: Call) -> bool:
    at = _moment(found["occurred_at"])
    incident = query.incident_id
    return (
        _fits(query, found, [found["resource_uri"]], call)
        and (incident is None or found["incident_uri"] == call.url("status", "incidents", incident))
        and (query.start is None or at >= query.start)
        and (query.to is None or at <= query.to)
        and (query.time is None or at == query.time)
    )


def _is_below(urn: str, parent: str) -> bool:
    return urn == parent or urn.startswith(parent + ":")


def _wanted(place: Place, watch: Watch, query: ResourcesQuery | ResourcesQueryV1) -> list[Resource]:
    found: list[Resource] = []
    for resource in place.resources.values():
        is_v1 = isinstance(query, ResourcesQueryV1)
        kind = query.resource_type
        units = {V1_UNITS[u] if is_v1 else urn_of(u) for u in place.units_of(resource, is_v1=is_v1)}
        if (
            query.name in (None, resource.name)
            and (query.description is None or query.description in resource.description)
            and query.group in (None, resource.group)
            and (kind is None or (kind == resource.type if is_v1 else _is_below(resource.urn, kind)))
            and query.current_status in (None, watch.status(resource))
            and (query.modified_since is None or watch.changed(resource) >= query.modified_since.timestamp())
            and (not query.capability or not units.isdisjoint(query.capability))
        ):
            found.append(resource)
    return found


def operations(place: Place, watch: Watch, root: str, *, is_v1: bool) -> Sequence[Operation]:
    """Return the operations below `root`, for example "/api/v2"."""

    async def get_resources(call: Call) -> Reply:
        watch.look()
        query: ResourcesQuery | ResourcesQueryV1 = call.query
        return reply([watch.shown(call, resource) for resource in query.of(_wanted(place, watch, query))])

    async def get_resource(call: Call) -> Reply:
        watch.look()
        resource = place.resources.get(call.path["resource_id"])
        if resource is None:
            raise not_found("resource", call.path["resource_id"])
        return reply(watch.shown(call, resource), modified=watch.changed(resource))

    async def get_incidents(call: Call) -> Reply:
        watch.look()
        query: IncidentsQuery = call.query
        return reply(query.of([it for it in _history(place, call)[0] if _incident_fits(query, it, call)]))

    async def get_incident(call: Call) -> Reply:
        return _one(_history(place, call)[0], "incident", call.path["incident_id"])

    async def get_events(call: Call) -> Reply:
        watch.look()
        query: EventsQuery = call.query
        return reply(query.of([it for it in _history(place, call)[1] if _event_fits(query, it, call)]))

    async def get_event(call: Call) -> Reply:
        return _one(_history(place, call)[1], "event", call.path["event_id"])

    query = ResourcesQueryV1 if is_v1 else ResourcesQuery
    here = f"{root}/status"
    return [
        Operation("GET", f"{here}/resources", "getResources", get_resources, query, is_open=True),
        Operation("GET", f"{here}/resources/{{resource_id}}", "getResource", get_resource, is_open=True),
        Operation("GET", f"{here}/incidents", "getIncidents", get_incidents, IncidentsQuery, is_open=True),
        Operation("GET", f"{here}/incidents/{{incident_id}}", "getIncident", get_incident, is_open=True),
        Operation("GET", f"{here}/events", "getEventsByIncident", get_events, EventsQuery, is_open=True),
        Operation("GET", f"{here}/events/{{event_id}}", "getEventByIncident", get_event, is_open=True),
    ]


def _one(found: Sequence[dict[str, Any]], what: str, name: str) -> Reply:
    for item in found:
        if item["id"] == name:
            return reply(item, modified=_moment(item["last_modified"]).timestamp())
    raise not_found(what, name)
