"""`renkei dataset`: list, fetch."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from renkei.catalog import DatasetStore
from renkei.cli._lazy import new_app
from renkei.cli._lookup import datasets_at, sites_of
from renkei.cli._options import DEFAULT_HOME, HomeOption, JsonOption, SiteOption
from renkei.cli._output import columns, out, plain, print_json, say, size
from renkei.errors import UsageError
from renkei.home import home_at

app = new_app()

_SHOWN = 16
"""How many digits of a digest a table shows."""


@app.command("list")
def list_datasets(site: SiteOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List datasets and the run that each came from."""
    place = home_at(home)
    kept = [each for name in sites_of(place, site) for each in datasets_at(place, name)]
    if as_json:
        return print_json({"site": k.site, "run": k.run, "at": k.at, **msgspec.to_builtins(k.dataset)} for k in kept)
    if not kept:
        return say("There are no datasets here.")
    table = columns("dataset!", "name", ">size", "site", "run!")
    for each in kept:
        dataset = each.dataset
        table.add_row(
            dataset.digest[:_SHOWN],
            plain(dataset.name),
            size(dataset.size_bytes),
            each.site,
            each.run,
        )
    return out().print(table)


@app.command("fetch")
def fetch_dataset(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="The dataset's digest, or its beginning.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; it must not exist yet.")
    ],
    site: SiteOption = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Copy a dataset out of a site, checked against its digest."""
    place = home_at(home)
    known = [each for name in sites_of(place, site) for each in datasets_at(place, name)]
    found = {each.dataset.digest: each for each in known if each.dataset.digest.startswith(digest.lower())}
    if len(found) != 1:
        problem = f"{len(found)} datasets begin with {digest}." if found else f"There is no dataset {digest} here."
        raise UsageError(problem, "List them with: renkei dataset list")
    kept = next(iter(found.values()))
    store = DatasetStore(place.site(kept.site).site.data / "datasets")
    store.fetch(kept.dataset.digest, output)
    say(f"{output}: {size(kept.dataset.size_bytes)}, {kept.dataset.name} of run {kept.run} at {kept.site}")
