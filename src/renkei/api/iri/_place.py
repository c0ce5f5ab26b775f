"""What a site is in the words of the IRI API: a facility with one site, its resources, what can be allocated there."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from renkei.api._context import Context
from renkei.api.iri._http import Call, links
from renkei.clock import iso

UNITS = {
    "node-hour": "compute:node-hours",
    "core-hour": "compute:core-hours",
    "gpu-hour": "compute:gpu-hours",
    "instrument-hour": "instrument:hours",
    "sample": "instrument:samples",
    "token": "inference:tokens",
    "USD": "currency:usd",
    "run": "compute:runs",
}
"""The allocation units of renkei as URNs of the IRI API, below "urn:doe-iri:allocation:"."""
V1_UNITS = {"node-hour": "node_hours"}
"""The units that version 1 has words for; allocations in others are not shown there."""

_TYPES = {
    "compute": "resource:compute",
    "storage": "resource:storage",
    "network": "resource:network",
    "system": "resource:system",
    "service": "service:generic",
    "website": "service:website",
    "unknown": "resource:unknown",
}


@dataclass(frozen=True)
class Resource:
    """One resource as the IRI API shows it.

    Args:
        id: Its id.
        name: Its name for people.
        type: The word of `site.toml`, which is that of version 1.
        description: What it is.
        group: The system that it is part of.
        root: Of a storage resource, the folder; "" where there is none.
        is_readonly: Of a storage resource, whether users may only read.
    """

    id: str
    name: str
    type: str
    description: str = ""
    group: str | None = None
    root: str = ""
    is_readonly: bool = False

    @property
    def urn(self) -> str:
        """Its type as version 2 writes it."""
        return f"urn:doe-iri:{_TYPES[self.type]}"


def urn_of(unit: str) -> str:
    """Return an allocation unit as version 2 writes it."""
    return f"urn:doe-iri:allocation:{UNITS.get(unit) or 'renkei:' + quote(unit, safe='')}"


class Place:
    """A site as the IRI API shows it; what its file says and its ledger holds, translated.

    Args:
        context: The site.
    """

    def __init__(self, context: Context) -> None:
        file, site = context.file, context.site
        self.context, self.since = context, context.clock.now()
        self.facility_id = str(uuid5(NAMESPACE_URL, f"renkei:facility:{site.agreement.name}:{site.name}"))
        self.site_id = str(uuid5(NAMESPACE_URL, f"renkei:site:{site.agreement.name}:{site.name}"))
        shown = [
            Resource(
                table.id, table.name, table.type, table.description, table.group,
                "" if table.root is None else str(table.root), table.readonly,
            )
            for table in file.resources
        ]  # fmt: skip
        if not any(resource.type == "compute" for resource in shown):
            text = f"What runs procedures and jobs at {site.name}."
            shown.insert(0, Resource("compute", f"{site.name} {site.executor}", "compute", text))
        self.resources = {resource.id: resource for resource in shown}
        self.compute = [resource for resource in shown if resource.type == "compute"]

    def id_of(self, *parts: object) -> str:
        """Return the stable id of something at this site that has no name."""
        return str(uuid5(NAMESPACE_URL, ":".join(("renkei", self.site_id, *map(str, parts)))))

    @property
    def units(self) -> list[str]:
        """Every unit that something is allocated or charged in here."""
        file, books = self.context.file, self.context.site.books.rows.values()
        found = [row.unit for row in books] + [table.quantity.unit for table in file.allocations]
        return sorted({*found, *([file.jobs.unit] if file.jobs is not None else [])})

    def units_of(self, resource: Resource, *, is_v1: bool) -> list[str]:
        """Return the units that use of a resource is counted in."""
        if resource.type != "compute":
            return []
        return [unit for unit in self.units if not is_v1 or unit in V1_UNITS]

    def facility(self, call: Call) -> dict[str, Any]:
        """Return the facility."""
        table, site = self.context.file.facility, self.context.site
        href = call.url("facility")
        found = {
            "id": self.facility_id,
            "name": site.name if table is None else table.name,
            "description": "" if table is None else table.description,
            "last_modified": iso(self.since),
            "short_name": site.name if table is None else table.short_name or site.name,
            "organization_name": self._organization,
            "support_uri": None if table is None else table.support,
            "self_uri": href,
            "site_uris": [call.url("facility", "sites", self.site_id)],
            "_links": links(href),
        }
        return _filled(found)

    def site(self, call: Call) -> dict[str, Any]:
        """Return the one site of the facility."""
        table, site = self.context.file.facility, self.context.site
        href = call.url("facility", "sites", self.site_id)
        found = {
            "id": self.site_id,
            "name": site.name,
            "description": "" if table is None else table.description,
            "last_modified": iso(self.since),
            "short_name": site.name,
            "operating_organization": self._organization,
            "country_name": None if table is None else table.country,
            "locality_name": None if table is None else table.locality,
            "latitude": None if table is None else table.latitude,
            "longitude": None if table is None else table.longitude,
            "self_uri": href,
            "resource_uris": [call.url("status", "resources", name) for name in self.resources],
            "_links": links(href),
        }
        return _filled(found)

    def capability(self, call: Call, unit: str) -> dict[str, Any]:
        """Return what can be allocated in a unit."""
        href = call.url("account", "capabilities", unit)
        return {
            "id": unit,
            "name": unit,
            "description": f"Use of what {self.context.site.name} offers, counted in {unit}.",
            "last_modified": iso(self.since),
            "units": [V1_UNITS[unit] if call.is_v1 else urn_of(unit)],
            "self_uri": href,
            "_links": links(href),
        }

    @property
    def _organization(self) -> str:
        table = self.context.file.facility
        return self.context.file.site.institution if table is None else table.organization or table.name


def _filled(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}
