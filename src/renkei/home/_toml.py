"""The site.toml of a site that a campaign file embeds."""

import json
from collections.abc import Iterable
from pathlib import Path

from renkei.model.campaign import LocalSite
from renkei.model.quantity import MICRO, Quantity
from renkei.model.site_file import AllocationFile

UNLIMITED = 1_000_000_000
"""What stands for "no limit" where a campaign file gives an embedded site no allocation."""


def site_text(name: str, site: LocalSite, team: str, home: Path, allocations: Iterable[AllocationFile] = ()) -> str:
    """Return the site.toml that says the same as `[sites.NAME]` of a campaign file.

    Args:
        name: The site's name, which is also its institution's.
        site: What the campaign file says of it.
        team: Whom its allocation is for.
        home: The folder that it lives in.
        allocations: What the site gave to teams before; that of other teams, or in other units, stays.
    """
    given = {(a.team, a.quantity.unit): a.quantity for a in allocations}
    mine = site.allocation or Quantity(UNLIMITED * MICRO, site.charge.unit)
    given[team, mine.unit] = mine
    amount = {"per_run": site.charge.per_run} if site.charge.per_hour is None else {"per_hour": site.charge.per_hour}
    key, value = next(iter(amount.items()))
    lines = [
        f"# Site '{name}', as a campaign file describes it.",
        "[site]",
        f"name = {_text(name)}",
        f"institution = {_text(name)}",
        f"key = {_text(home / 'keys' / f'{name}.key')}",
        f"agreement = {_text(home / 'agreement.toml')}",
        *([f"policy = {_text(site.policy)}"] if site.policy else []),
        f"data = {_text(home / 'sites' / name)}",
        "",
        "[executor]",
        'kind = "local"',
        f"workers = {site.workers}",
        f'time_limit = "{site.time_limit_s:f} s"',
        *([f'memory = "{site.memory_bytes} B"'] if site.memory_bytes else []),
    ]
    for code in site.procedures:
        lines += [
            "",
            "[[procedures]]",
            f"use = {_text(code)}",
            f'charge = {{ unit = "{site.charge.unit}", {key} = {value:f} }}',
        ]
    for (whose, _), quantity in given.items():
        lines += ["", "[[allocations]]", f"team = {_text(whose)}", f"quantity = {_text(quantity)}"]
    return "\n".join([*lines, ""])


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
