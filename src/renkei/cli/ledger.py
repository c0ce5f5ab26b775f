"""`renkei ledger`: verify, show, prove, check-proof."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from renkei.cli._lazy import new_app
from renkei.cli._options import JsonOption, OutputOption, existing
from renkei.cli._output import (
    columns,
    err,
    facts,
    local_time,
    out,
    plain,
    print_json,
    print_lines,
    print_raw,
    say,
    write_new,
)
from renkei.cli._proof import Proof, check, prove
from renkei.cli._records import summary_of
from renkei.cli._whose import Trust, projections_for, trust_in
from renkei.errors import UsageError, did_you_mean
from renkei.ledger import LedgerReader, verify
from renkei.model.records import BODIES, read_record

app = new_app()

FileArgument = Annotated[Path, existing("The ledger's file: ledger.db.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="PUBLICKEY", help="The public key that must have signed, or a file that holds it."),
]
AgreementOption = Annotated[
    Path | None,
    typer.Option(
        "--agreement", metavar="FILE", exists=True, dir_okay=False, help="Take the key from this agreement instead."
    ),
]


@app.command("verify")
def verify_ledger(
    file: FileArgument, key: KeyOption = None, agreement: AgreementOption = None, as_json: JsonOption = False
) -> None:
    """Verify every record, signature and table, offline.

    Names the first bad record and exits with 1 when the ledger is not sound.
    """
    with LedgerReader(file) as ledger:
        owner = ledger.owner
        trust = trust_in(ledger, key, agreement)
    tables = projections_for(owner)
    finding = verify(file, trust.key, tables)
    if as_json:
        print_json([finding._asdict() | {"sound": finding.is_sound, "key": trust.key.text, "key_from": trust.source}])
    else:
        checked = {
            "ledger": f"{finding.owner}  {file}",
            "records": f"{finding.records:,}: each one's bytes, hash and number",
            "checkpoints": f"{finding.checkpoints:,}, both signatures good; the last covers {finding.covered:,}",
            "key": f"{trust.key.id}, {trust.source}",
            "tables": f"{', '.join(table.name for table in tables)}: what the records fold to" if tables else "",
            "root": finding.root,
            "sound": "yes" if finding.is_sound else "NO",
        }
        out().print(facts(checked))
    if not finding.is_sound and not as_json:
        err().print(f"Error: {plain(finding.problem)}.", style="red", soft_wrap=True)
    raise typer.Exit(0 if finding.is_sound else 1)


@app.command("show")
def show_ledger(
    file: FileArgument,
    start: Annotated[int, typer.Option("--from", metavar="N", min=0, help="Begin at this record.")] = 0,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only records of this kind: run.ended.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show records, one a line; with --json their exact bytes."""
    if kind is not None and kind not in BODIES:
        raise UsageError(f"'{kind}' is no kind of record.{did_you_mean(kind, BODIES)}", f"Known: {', '.join(BODIES)}.")
    with LedgerReader(file) as ledger:
        records = (record for record in ledger.records(start) if kind in (None, record.kind))
        if as_json:
            return print_raw(record.raw for record in records)
        print_lines(
            f"{record.seq:>6}  {local_time(record.at)}  {record.kind:<18}  {plain(summary_of(record))}"
            for record in records
        )
    return None


@app.command("prove")
def prove_record(
    file: FileArgument,
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=0, help="The record's number.", show_default=False)],
    output: OutputOption = None,
) -> None:
    """Write a proof that one record is in a ledger.

    It holds the record, its path to the root of the tree and a signed checkpoint, and can be checked without the
    ledger: renkei ledger check-proof.
    """
    with LedgerReader(file) as ledger:
        proof = prove(ledger, seq)
    text = msgspec.json.format(msgspec.json.encode(proof))
    if output is None:
        return print_raw([text])
    write_new(output, text + b"\n")
    return say(f"{output}: record {seq} of {proof.owner}, under the checkpoint over {proof.size:,} records.")


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, existing("The proof.")],
    key: KeyOption = None,
    agreement: AgreementOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of one record, offline.

    With --json it prints the record's exact bytes. Exits with 1 when the proof does not hold.
    """
    proof = Proof.read(file)
    trust: Trust = trust_in(proof, key, agreement)
    raw = check(proof, trust.key)
    if as_json:
        return print_raw([raw])
    record = read_record(raw)
    table = columns(">record", "when", "kind", "what…")
    table.add_row(str(record.seq), local_time(record.at), record.kind, plain(summary_of(record)))
    out().print(table)
    return say(f"It is in the ledger of {proof.owner}. Signed by key {trust.key.id}, {trust.source}.")
