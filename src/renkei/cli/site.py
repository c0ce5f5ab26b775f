"""`renkei site`: list, show, check, serve."""

import dataclasses
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import typer
from rich.console import Group
from rich.text import Text

from renkei.accounts import Balance
from renkei.cli._lazy import new_app
from renkei.cli._lookup import ledger_of, runs_at
from renkei.cli._offers import charge_of, describe
from renkei.cli._options import DEFAULT_HOME, HomeOption, JsonOption, existing
from renkei.cli._output import amount, columns, duration, facts, out, plain, print_json, say, size
from renkei.clock import SystemClock
from renkei.errors import RenkeiError
from renkei.home import Home, home_at
from renkei.home._toml import UNLIMITED
from renkei.ledger import LedgerReader
from renkei.model.quantity import MICRO
from renkei.model.site_file import SiteFile
from renkei.policy import DEFAULT_POLICY
from renkei.site import offers_of

app = new_app()

FileArgument = Annotated[Path, existing("The site's file: site.toml.")]

_POLICY_ID = re.compile(r'^\s*@id\("([^"]+)"\)', re.MULTILINE)


@app.command("list")
def list_sites(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the sites of a home and their runs."""
    place = home_at(home)
    records = [_record(place, name) for name in place.sites()]
    if as_json:
        return print_json(records)
    if not records:
        return say(f"There are no sites in {place.path}.")
    table = columns("site", "institution", "executor", ">workers", "runs…", "…")
    for record in records:
        executor = record["executor"]
        states = _states(record["runs"])
        table.add_row(
            record["site"], record["institution"], executor["kind"], str(executor["workers"]), states, record["problem"]
        )
    return out().print(table)


def _record(home: Home, name: str) -> dict[str, Any]:
    record: dict[str, Any] = {"site": name, "institution": "", "executor": {"kind": "", "workers": ""}, "runs": {}}
    try:
        file = home.site(name)
        record |= {"institution": file.site.institution, "executor": file.executor.model_dump(mode="json")}
        record["runs"] = Counter(row.state for row in runs_at(home, name).values())
    except RenkeiError as error:  # one broken site must not hide the others
        return record | {"problem": error.message}
    return record | {"problem": ""}


@app.command("show")
def show_site(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site's name.", show_default=False)],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what a site offers, its allocations and its policies."""
    place = home_at(home)
    file = place.site(name)
    offers, balances, policies = offers_of(file), _balances(place, name), _policies(file)
    rules = _rules(place, name)
    states = Counter(row.state for row in runs_at(place, name).values())
    if as_json:
        return print_json(
            [
                {
                    "site": name,
                    "institution": file.site.institution,
                    "executor": file.executor.model_dump(mode="json"),
                    "offers": [describe(name, offer) for offer in offers],
                    "allocations": [msgspec.to_builtins(row) for row in balances],
                    "runs": states,
                    "policies": policies,
                    "rules": rules,
                }
            ]
        )
    about = {
        "institution": file.site.institution,
        "executor": f"{file.executor.kind}, {file.executor.workers} at the same time",
        "data": str(file.site.data),
        "runs": _states(states) or "none yet",
        "policies": f"{', '.join(policies) or 'none'} ({file.site.policy or 'the default policy'})",
        "agreement rules": ", ".join(rules),
    }
    offered = columns("procedure", "version", "charge", "time limit", "memory limit", "what it does…")
    for offer in offers:
        limit = size(offer.memory_bytes) if offer.memory_bytes else "none"
        spec = offer.spec
        offered.add_row(spec.name, spec.version, charge_of(offer), duration(offer.time_limit_s), limit, spec.summary)
    books = columns("team", ">granted", ">available", ">reserved", ">spent")
    for row in balances:
        is_limited = -row.granted < UNLIMITED * MICRO
        books.add_row(
            row.team,
            *(amount(n, row.unit) if is_limited else "no limit" for n in (-row.granted, row.available)),
            *(amount(n, row.unit) for n in (row.reserved, row.spent)),
        )
    parts = [Text(name, "bold"), facts(about), Text(), offered]
    return out().print(Group(*parts, *([Text(), books] if balances else [])))


def _balances(home: Home, name: str) -> list[Balance]:
    path = ledger_of(home, name)
    if path is None:
        return []
    with LedgerReader(path) as ledger:
        return list(ledger.table("books", Balance).values())


def _policies(file: SiteFile) -> list[str]:
    text = DEFAULT_POLICY if file.site.policy is None else file.site.policy.read_text("utf-8")
    return _POLICY_ID.findall(text)


def _rules(home: Home, name: str) -> list[str]:
    """Return the ids of the agreement's rules that are about a site."""
    try:
        rules = home.agreement().rules
    except RenkeiError:  # 'renkei agreement check' says what is wrong with it
        return []
    return [rule.id for rule in rules if any(fnmatchcase(name, pattern) for pattern in rule.sites)]


def _states(states: Counter[str] | dict[str, int]) -> str:
    pairs: Iterable[tuple[str, int]] = Counter(states).most_common()
    return ", ".join(f"{n:,} {state}" for state, n in pairs)


@app.command("check")
def check_site(file: FileArgument, as_json: JsonOption = False) -> None:
    """Find out what would keep a site from serving.

    Looks at keys, agreement, procedures, policy, executor, storage, clock and address. Nothing is changed. Exits with 1
    when something is wrong.
    """
    from renkei.home._site_check import check_site as check

    findings = anyio.run(check, file, SystemClock())
    is_bad = any(finding.problem and finding.is_grave for finding in findings)
    if as_json:
        print_json(dataclasses.asdict(finding) for finding in findings)
    else:
        table = columns("", "check", "what was found…")
        for finding in findings:
            sign = "ok" if not finding.problem else "WRONG" if finding.is_grave else "note"
            table.add_row(sign, finding.check, plain(finding.problem or finding.note))
        out().print(table)
    raise typer.Exit(1 if is_bad else 0)


@app.command("serve")
def serve_site(file: FileArgument) -> None:
    """Serve a site to its partners until SIGTERM comes.

    Prints `ready URL` once requests are accepted. On SIGTERM it stops cleanly: what runs in a batch system goes on
    and is found again at the next start.
    """
    from renkei.home._serving import serve_site as serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def ready(url: str) -> None:
        say(f"ready {url}")
        sys.stdout.flush()

    anyio.run(serve, file, SystemClock(), ready)
