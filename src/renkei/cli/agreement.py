"""`renkei agreement`: new, check, sign, show, accede, revoke."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from renkei.cli._accession import accession, amendment_path
from renkei.cli._agreement_draft import draft, save_keys, write_draft
from renkei.cli._lazy import new_app
from renkei.cli._options import JsonOption, existing
from renkei.cli._output import columns, facts, out, plain, print_json, say, write_new
from renkei.clock import SystemClock, iso
from renkei.errors import UsageError
from renkei.model.agreement import Agreement, load_agreement
from renkei.model.agreement_changes import differences
from renkei.trust.endorsement import endorse, require_signed, succession_problems, unsigned_parties
from renkei.trust.keys import Key, PublicKey
from renkei.trust.revocation import revocations_path, revoke

app = new_app()

FileArgument = Annotated[Path, existing("The agreement's file: agreement.toml.")]
AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", metavar="OLD", help="The version before it, which it amends.", show_default=False),
]
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
def check_agreement(file: FileArgument, against: AgainstOption = None, as_json: JsonOption = False) -> None:
    """Tell every mistake, the term, and who has signed.

    With --against, every change since the version before it, too, and what keeps the one from following the other.
    Exits with 3 when the agreement is not in force, or does not follow the version before it.
    """
    agreement = load_agreement(file)
    missing = unsigned_parties(agreement, file)
    is_in_term = agreement.is_in_term(SystemClock().now())
    old = None if against is None else load_agreement(against)
    changes = [] if old is None else differences(old, agreement)
    problems = [] if old is None else succession_problems(old, agreement, file)
    is_in_force = is_in_term and not missing and not problems
    if as_json:
        record: dict[str, object] = {
            "name": agreement.name,
            "version": agreement.version,
            "digest": agreement.digest,
            "previous": agreement.previous,
            "starts": iso(agreement.starts),
            "ends": iso(agreement.ends),
            "in_force": is_in_force,
            "unsigned": missing,
        }
        print_json([record if old is None else record | {"changes": changes, "problems": problems}])
    else:
        told = _terms(agreement, missing, is_in_term)
        if old is not None:
            told["changes"] = "\n".join(changes) or "none"
            told["forbidden by"] = "\n".join(problems) or "nothing"
            told["in force"] = "yes" if is_in_force else "no"
        out().print(Group(_head(agreement), facts(told)))
    raise typer.Exit(0 if is_in_force else _REFUSED)


@app.command("sign")
def sign_agreement(
    file: FileArgument,
    key: Annotated[Path, typer.Option("--key", metavar="KEYFILE", help="The party's secret key; it names the party.")],
    against: AgainstOption = None,
) -> None:
    """Sign an agreement in the name of a party.

    The signature lies in a file beside it. It is over every byte of the agreement: any change needs new signatures.
    With --against, parties of the version before sign too, with the keys that they have there.
    """
    agreement, signer = load_agreement(file), Key.load(key)
    old = None if against is None else load_agreement(against)
    endorse(signer, agreement, file, previous=old)
    missing = unsigned_parties(agreement, file)
    if old is not None:
        before = unsigned_parties(old, file, signed=agreement)
        missing |= {f"{name} (as in version {old.version})": why for name, why in before.items() if name not in missing}
    rest = f"still to sign: {', '.join(missing)}" if missing else "every party has signed"
    say(f"Signed by {signer.name}; {rest}.")


@app.command("accede")
def accede(
    file: FileArgument,
    party: Annotated[
        list[str],
        typer.Option(metavar="ID=NAME[:KEY]", help="A new party and its public key; repeat it."),
    ],
    institution: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=PARTY[:KEY]", help="A new institution, its party and its public key; repeat it."),
    ] = None,
    team: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=INSTITUTION,…", help="A new team, or who joins one that is there; repeat it."),
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=INSTITUTION[:URL]", help="A new site, who runs it and where it is; repeat it."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="NEW", help="The file to write; left out, FILE with the new version's number."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the next version of an agreement, with a party more.

    Nothing else changes. It is in force once every party of FILE and every new one has signed it. Whoever brings no
    public key has a secret key made in the folder `keys` beside FILE. Sites take the new version up without a restart
    when it is put, after its signatures, in the place of the one before.
    """
    old = load_agreement(file)
    require_signed(old, file)
    amended = accession(old, file, party, institution or (), team or (), site or ())
    path = output or amendment_path(old, file)
    agreement = amended.agreement
    if path.exists():
        raise UsageError(f"{path} exists already.", "Name another file with --out.")
    keys = save_keys(amended.keys, file) if amended.keys else None
    write_new(path, agreement.source)
    changes = differences(old, agreement)
    if as_json:
        record = {"file": str(path), "version": agreement.version, "digest": agreement.digest}
        return print_json([record | {"previous": agreement.previous, "changes": changes}])
    say(f"{path}: version {agreement.version} of agreement '{agreement.name}'. What changes:")
    for change in changes:
        say(f"  {change}")
    say("Have every party sign it, each with its own key:")
    say(f"  renkei agreement sign {path} --against {file} --key KEYFILE   ({', '.join(agreement.parties)})")
    if keys is not None:
        names = ", ".join(key.name for key in amended.keys)
        say(f"The keys of {names} in {keys} are secret: hand each to whom it belongs and keep no copy.")
    return None


@app.command("revoke")
def revoke_institution(
    file: FileArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a sentence for people.")],
    key: Annotated[Path, typer.Option("--key", metavar="KEYFILE", help="The secret key of the party that revokes.")],
    institution: Annotated[
        str, typer.Option(metavar="ID", help="The institution that is revoked.", show_default=False)
    ] = "",
    key_id: Annotated[
        str, typer.Option("--key-id", metavar="HEX", help="Or the key that is revoked.", show_default=False)
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Give notice that an institution, or a key, is revoked.

    Any party may, alone. The signed notice is added to a file beside the agreement. Sites that see it refuse new
    requests at once; what runs goes on to its end, and what was recorded stays valid. Only a later version of the
    agreement that names the institution with another key undoes it.
    """
    if bool(institution) == bool(key_id):
        raise UsageError("Who is revoked is not clear.", "Give either --institution or --key-id.")
    if not reason.strip():
        raise UsageError("A revocation needs a reason.", "Say why with --reason.")
    agreement, signer = load_agreement(file), Key.load(key)
    require_signed(agreement, file)
    now = SystemClock().now()
    notice = revoke(signer, agreement, file, now, reason.strip(), institution=institution, key_id=key_id.lower())
    path = revocations_path(file)
    if as_json:
        return print_json([{"file": str(path), "by": signer.name, "notice": notice}])
    what = f"'{institution}' with its key" if institution else "the key"
    say(f"{signer.name} revokes {what} {notice.key}: {notice.reason}")
    return say(f"Put {path} beside the agreement at every site: it takes effect there within a second or two.")


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
        **({"follows": agreement.previous} if agreement.previous else {}),
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
        "previous": agreement.previous,
        "starts": iso(agreement.starts),
        "ends": iso(agreement.ends),
        "illustrative": agreement.illustrative,
        **{name: {key: each.model_dump(mode="json") for key, each in table.items()} for name, table in tables.items()},
        "contributions": [each.model_dump(mode="json") for each in agreement.contributions],
        "rules": agreement.rules,
    }
