"""The site.toml of a site that a campaign file embeds."""

import json
from pathlib import Path

from renkei.model.campaign import LocalSite

UNLIMITED = 1_000_000_000
"""What stands for "no limit" where a campaign file gives an embedded site no allocation."""


def site_text(name: str, site: LocalSite, team: str, home: Path) -> str:
    """Return the site.toml that says the same as `[sites.NAME]` of a campaign file."""
    allocation = str(site.allocation) if site.allocation else f"{UNLIMITED} {site.charge.unit}"
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
    lines += ["", "[[allocations]]", f"team = {_text(team)}", f"quantity = {_text(allocation)}", ""]
    return "\n".join(lines)


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
