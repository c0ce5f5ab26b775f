"""`renkei agreement`: new, check, sign, show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from renkei.cli._agreement_draft import draft, write_draft
from renkei.cli._lazy import new_app
from renkei.cli._options import JsonOption, existing
from renkei.cli._output import columns, facts, out, plain, print_json, say
from renkei.clock import SystemClock, iso
from renkei.model.agreement import Agreement, load_agreement
from renkei.trust.endorsement import endorse, unsigned_parties
from renkei.trust.keys import Key, PublicKey

app = new_app()

FileArgument = Annotated[Path, existing("The agreement's file: agreement.toml.")]
_REFUSED = 3


@app.command("new")
def new_agreement(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    name: Annotated[str, typer.Option(metavar="NAME", help="The agreement's name; left out, the file's.")] = "",
    party: Annotated[
        list[str] | None, typer.Option(metavar="ID=NAME", help='A party, for example us="United States"; repeat it.')
    ] = None,
    institution: Annotated[
        list[str] | None, typer.Option(metavar="ID=PARTY", help="An institution and its party; repeat it.")
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option(metavar="ID=INSTITUTION,…", help="A team and its institutions; repeat it.")
    ] = None,
) -> None:
    """Write a commented agreement to go on from.

    A secret key for every party and institution is made in the folder `keys` beside it. Without options it is about
    two made-up parties.
    """
    drafted = draft(file, name, party or (), institution or (), team or (), SystemClock().now())
    keys = write_draft(drafted, file)
    say(f"{file}: agreement '{drafted.name}'. Edit it, then have every party sign it:")
    for key in drafted.parties:
        say(f"  renkei agreement sign {file} --key {keys / key}.key")
    say(f"The keys in {keys} are secret: hand each to whom it belongs and keep no copy.")


@app.command("check")
def check_agreement(file: FileArgument, as_json: JsonOption = False) -> None:
    """Tell every mistake, the term, and who has signed.

    Exits with 3 when the agreement is not in force.
    """
    agreement = load_agreement(file)
    missing = unsigned_parties(agreement, file)
    is_in_term = agreement.is_in_term(SystemClock().now())
    is_in_force = is_in_term and not missing
    if as_json:
        print_json(
            [
                {
                    "name": agreement.name,
                    "version": agreement.version,
                    "digest": agreement.digest,
                    "starts": iso(agreement.starts),
                    "ends": iso(agreement.ends),
                    "in_force": is_in_force,
                    "unsigned": missing,
                }
            ]
        )
    else:
        out().print(Group(_head(agreement), facts(_terms(agreement, missing, is_in_term))))
    raise typer.Exit(0 if is_in_force else _REFUSED)


@app.command("sign")
def sign_agreement(
    file: FileArgument,
    key: Annotated[Path, typer.Option("--key", metavar="KEYFILE", help="The party's secret key; it names the party.")],
) -> None:
    """Sign an agreement in the name of a party.

    The signature lies in a file beside it. It is over every byte of the agreement: any change needs new signatures.
    """
    agreement, signer = load_agreement(file), Key.load(key)
    endorse(signer, agreement, file)
    missing = unsigned_parties(agreement, file)
    rest = f"still to sign: {', '.join(missing)}" if missing else "every party has signed"
    say(f"Signed by {signer.name}; {rest}.")


@app.command("show")
def show_agreement(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show who belongs to an agreement, and its rules."""
    agreement = load_agreement(file)
    if as_json:
        return print_json([_record(agreement)])
    missing = unsigned_parties(agreement, file)
    parts = [_head(agreement), facts(_terms(agreement, missing, agreement.is_in_term(SystemClock().now())))]
    institutions = columns("institution", "name…", "party", "key!", "sites…")
    for key, each in agreement.institutions.items():
        sites = [site for site, where in agreement.sites.items() if where.institution == key]
        institutions.add_row(key, plain(each.name), each.party, PublicKey.parse(each.key).id, ", ".join(sites))
    teams = columns("team", "name…", "institutions…")
    for key, team in agreement.teams.items():
        teams.add_row(key, plain(team.name), ", ".join(team.institutions))
    given = columns("site", "gives", "to team")
    for each in agreement.contributions:
        given.add_row(each.site, str(each.quantity), each.team)
    rules = columns("rule", "effect", "where…", "reason…")
    for rule in agreement.rules:
        rules.add_row(rule.id, rule.effect, _where(rule), plain(rule.reason))
    for table in (institutions, teams, given, rules):
        if table.row_count:
            parts += [Text(), table]
    return out().print(Group(*parts))


def _head(agreement: Agreement) -> Text:
    made_up = "  (made-up example)" if agreement.illustrative else ""
    return Text.assemble((agreement.name, "bold"), f"  {agreement.title}" if agreement.title else "", made_up)


def _terms(agreement: Agreement, missing: dict[str, str], is_in_term: bool) -> dict[str, str]:
    signed = [f"{key} ({party.name})" for key, party in agreement.parties.items() if key not in missing]
    return {
        "version": str(agreement.version),
        "digest": agreement.digest,
        "term": f"{iso(agreement.starts)[:10]} to the end of {iso(agreement.ends - 1)[:10]} UTC"
        + ("" if is_in_term else ", and now is outside it"),
        "signed by": ", ".join(signed) or "nobody",
        "not signed by": "\n".join(f"{key} ({agreement.parties[key].name}): {why}" for key, why in missing.items()),
        "in force": "yes" if is_in_term and not missing else "no",
    }


def _where(rule: object) -> str:
    names: Sequence[str] = ("teams", "procedures", "sites", "purposes", "institutions", "parties")
    given = {name: getattr(rule, name) for name in names}
    return "; ".join(f"{name} {', '.join(p)}" for name, p in given.items() if p != ("*",)) or "everything"


def _record(agreement: Agreement) -> dict[str, object]:
    tables = {name: getattr(agreement, name) for name in ("parties", "institutions", "sites", "teams")}
    return {
        "name": agreement.name,
        "title": agreement.title,
        "version": agreement.version,
        "digest": agreement.digest,
        "starts": iso(agreement.starts),
        "ends": iso(agreement.ends),
        "illustrative": agreement.illustrative,
        **{name: {key: each.model_dump(mode="json") for key, each in table.items()} for name, table in tables.items()},
        "contributions": [each.model_dump(mode="json") for each in agreement.contributions],
        "rules": agreement.rules,
    }
