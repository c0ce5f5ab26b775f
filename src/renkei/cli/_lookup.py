"""Finding runs, datasets and offers in the ledgers and files of a home, without being in anybody's way."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from renkei.errors import RenkeiError, UsageError, did_you_mean
from renkei.home import Home
from renkei.ledger import LedgerReader
from renkei.model.records import Dataset, Record, RunEnded, RunRequested, read_record
from renkei.site import Offered, RunRow, offers_of


def sites_of(home: Home, site: str | None) -> list[str]:
    """Return the site that was named, or all sites of the home.

    Raises:
        UsageError: There is no such site.
    """
    if site is None:
        return home.sites()
    home.site_path(site)
    return [site]


def ledger_of(home: Home, site: str) -> Path | None:
    """Return the ledger of a site, or None when the site was never opened."""
    path = home.site_ledger(site)
    return path if path.exists() else None


def runs_at(home: Home, site: str) -> dict[str, RunRow]:
    """Return every run that a site knows, by id, in the order in which they came."""
    path = ledger_of(home, site)
    if path is None:
        return {}
    with LedgerReader(path) as ledger:
        rows = ledger.table("runs", RunRow)
    return dict(sorted(rows.items(), key=lambda item: item[1].batch))


def find_run(home: Home, text: str, site: str | None = None) -> tuple[str, RunRow]:
    """Return the site and the row of a run, by its id or by any beginning or end of it that only one run has.

    Raises:
        UsageError: There is no such run, or more than one.
    """
    names = sites_of(home, site)
    rows = [(name, row) for name in names for row in runs_at(home, name).values()]
    wanted = text.lower()
    matches = [each for each in rows if each[1].run == wanted]
    if not matches and len(wanted) >= 4:
        matches = [each for each in rows if each[1].run.startswith(wanted) or each[1].run.endswith(wanted)]
    if not matches:
        where = f"site '{site}'" if site else str(home.path)
        raise UsageError(f"There is no run {text} at {where}.", "List them with: renkei run list")
    if len(matches) > 1:
        raise UsageError(f"{len(matches)} runs match {text}.", "Give more of the id; its last digits tell runs apart.")
    return matches[0]


def records_of(home: Home, site: str, row: RunRow) -> list[Record]:
    """Return the site's records about a run, oldest first."""
    path, key = ledger_of(home, site), row.run.encode()
    if path is None:
        return []
    with LedgerReader(path) as ledger:
        return [
            record
            for record in ledger.records(row.batch)
            if key in record.raw and getattr(record.body, "run", "") == row.run
        ]


def request_of(home: Home, row: RunRow) -> RunRequested | None:
    """Return the campaign's request of a run with the broker's reasons, if the campaign is in this home."""
    key = row.run.encode()
    directory = home.campaign_directory(row.campaign.partition(".baseline-")[0])
    name, _, replicate = row.campaign.partition(".baseline-")
    path = directory / f"baseline-{replicate}" / "ledger.db" if replicate else home.campaign_ledger(name)
    if not path.exists():
        return None
    with LedgerReader(path) as ledger:
        for _, raw, _ in ledger.rows():
            if key in raw:
                body = read_record(raw).body
                if isinstance(body, RunRequested) and body.run == row.run:
                    return body
    return None


@dataclass(frozen=True, slots=True)
class Kept:
    """A dataset that a site keeps, and the run that it came from."""

    site: str
    run: str
    at: float
    dataset: Dataset


def datasets_at(home: Home, site: str) -> Iterator[Kept]:
    """Yield every dataset that runs left behind at a site, oldest first."""
    path = ledger_of(home, site)
    if path is None:
        return
    with LedgerReader(path) as ledger:
        for _, raw, _ in ledger.rows():
            if b'"datasets":' in raw:
                record = read_record(raw)
                if isinstance(record.body, RunEnded):
                    yield from (Kept(site, record.body.run, record.at, dataset) for dataset in record.body.datasets)


def offers(home: Home) -> Iterator[tuple[str, Offered]]:
    """Yield (site, procedure on offer) of every site of a home.

    Raises:
        ConfigError: A site's file has mistakes.
        UsageError: A procedure cannot be imported.
    """
    for name in home.sites():
        for offer in offers_of(home.site(name)):
            yield name, offer


def units_of(home: Home, site: str, procedure: str) -> dict[str, str]:
    """Return the units of a procedure's parameters and outputs; none where the site's code cannot be read any more."""
    try:
        specs = [offer.spec for offer in offers_of(home.site(site)) if offer.spec.name == procedure]
    except RenkeiError:
        return {}
    return {each.name: each.unit for spec in specs for each in (*spec.parameters, *spec.outputs)}


def one_of(name: str, known: dict[str, list[tuple[str, Offered]]]) -> list[tuple[str, Offered]]:
    """Return who offers a procedure.

    Raises:
        UsageError: Nobody does.
    """
    if name not in known:
        raise UsageError(
            f"No site here offers '{name}'.{did_you_mean(name, known)}", "List them with: renkei procedure list"
        )
    return known[name]
