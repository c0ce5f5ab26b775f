"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path(".renkei")

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="RENKEI_HOME",
        metavar="DIR",
        help="The folder of sites and campaigns; or a served site's site.toml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one record a line, and nothing else.")]
SiteOption = Annotated[
    str | None, typer.Option("--site", metavar="NAME", help="The site; left out, every site of the home is searched.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write; left out, standard output.")
]
CampaignArgument = Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name.", show_default=False)]


def existing(what: str) -> typer.models.ArgumentInfo:
    """Return the argument of a command for a file that must be there."""
    return typer.Argument(metavar="FILE", exists=True, dir_okay=False, help=what, show_default=False)
