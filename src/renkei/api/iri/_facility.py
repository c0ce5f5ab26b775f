"""The part "facility": where the site is and who runs it."""

from collections.abc import Sequence

from renkei.api.iri._http import Call, Filter, Moment, Operation, Page, Reply, Since, is_unchanged, not_found, reply
from renkei.api.iri._place import Place


class SitesQuery(Page, frozen=True, kw_only=True):
    """What sites are searched for."""

    name: Filter | None = None
    short_name: Filter | None = None
    modified_since: Moment | None = None


def operations(place: Place, root: str) -> Sequence[Operation]:
    """Return the operations below `root`, for example "/api/v2"."""

    async def get_facility(call: Call) -> Reply:
        query: Since = call.query
        if is_unchanged(place.since, query.modified_since):
            return Reply(status=304)
        return reply(place.facility(call), modified=place.since)

    async def get_sites(call: Call) -> Reply:
        query: SitesQuery = call.query
        site = place.site(call)
        is_wanted = (
            query.name in (None, site["name"])
            and query.short_name in (None, site["short_name"])
            and not is_unchanged(place.since, query.modified_since)
        )
        return reply(query.of([site] if is_wanted else []), modified=place.since)

    async def get_site(call: Call) -> Reply:
        query: Since = call.query
        if call.path["site_id"] != place.site_id:
            raise not_found("site", call.path["site_id"])
        if is_unchanged(place.since, query.modified_since):
            return Reply(status=304)
        return reply(place.site(call), modified=place.since)

    return [
        Operation("GET", f"{root}/facility", "getFacility", get_facility, Since, is_open=True),
        Operation("GET", f"{root}/facility/sites", "getSites", get_sites, SitesQuery, is_open=True),
        Operation("GET", f"{root}/facility/sites/{{site_id}}", "getSite", get_site, Since, is_open=True),
    ]
