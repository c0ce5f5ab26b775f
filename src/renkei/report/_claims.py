"""What campaign ledgers say that sites' ledgers hold, and whether it is so."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from renkei.errors import RenkeiError
from renkei.ledger import LedgerReader
from renkei.ledger.merkle import Tree, leaf_hash
from renkei.model.records import CheckpointSeen, RunReported
from renkei.trust.keys import PublicKey
from renkei.trust.note import parse_checkpoint, read_checkpoint


class Report(NamedTuple):
    """A record of a site that a campaign's ledger repeats.

    Args:
        problems: Where to put what is wrong with it: the findings about the campaign's ledger.
        at: Its place in the campaign's ledger.
        seq: Its place in the site's.
        raw: The site's record, byte for byte.
    """

    problems: list[str]
    at: int
    seq: int
    raw: bytes


class Note(NamedTuple):
    """A signed checkpoint of a site that a campaign's ledger keeps; see `Report`."""

    problems: list[str]
    at: int
    text: str


@dataclass(slots=True)
class Claims:
    """All that campaign ledgers say about one site's ledger."""

    reports: list[Report] = field(default_factory=list[Report])
    notes: list[Note] = field(default_factory=list[Note])


class _Numbered(msgspec.Struct):
    seq: int


_number_of = msgspec.json.Decoder(_Numbered).decode


def collect_claims(ledger_path: Path, problems: list[str], claims: dict[str, Claims]) -> tuple[int, int]:
    """Add what a campaign's ledger says about sites to `claims`, by site.

    Args:
        ledger_path: The campaign's ledger.
        problems: Where to put what is wrong with it, now and when `check_claims` finds it.
        claims: By site; added to.

    Returns:
        How many reports and how many checkpoints were added.
    """
    n_reports = n_notes = 0
    with LedgerReader(ledger_path) as ledger:
        try:
            for record in ledger.records():
                body = record.body
                if isinstance(body, RunReported):
                    report = Report(problems, record.seq, _number_of(body.record).seq, bytes(body.record))
                    claims.setdefault(body.site, Claims()).reports.append(report)
                    n_reports += 1
                elif isinstance(body, CheckpointSeen):
                    claims.setdefault(body.site, Claims()).notes.append(Note(problems, record.seq, body.note))
                    n_notes += 1
        except (RenkeiError, msgspec.DecodeError, sqlite3.Error) as error:
            problems.append(f"what it says about sites cannot be read to its end: {error}")
    return n_reports, n_notes


def check_claims(site: str, claims: Claims, leaves: Iterable[bytes] | None, key: PublicKey | None) -> None:
    """Compare what campaigns say about a site's ledger with that ledger; what is wrong goes to each claim's problems.

    Args:
        site: The site's name.
        claims: What is said about it.
        leaves: The leaf hashes of the site's ledger; None when they cannot be had.
        key: The key of the site's institution; None when nobody vouches for one.
    """
    roots: dict[int, bytes] | None = None
    if leaves is not None:
        try:
            roots = _compare(site, claims, leaves)
        except (RenkeiError, sqlite3.Error):  # its own audit says what is wrong with it
            roots = None
    if roots is None and claims.reports:
        for problems in _each(report.problems for report in claims.reports):
            n = sum(report.problems is problems for report in claims.reports)
            problems.append(f"{n} records that it repeats of site/{site} could not be compared: no ledger to read")
    for note in claims.notes:
        if problem := _note_problem(site, note.text, key, roots or {}):
            note.problems.append(f"record {note.at}, a checkpoint of site/{site}: {problem}")


def leaves_of(path: Path) -> Iterator[bytes]:
    """Yield the leaf hashes of a ledger's records, made from their bytes.

    Raises:
        LedgerError: The file cannot be read as a ledger.
    """
    with LedgerReader(path) as ledger:
        for _, raw, _ in ledger.rows():
            yield leaf_hash(raw if isinstance(raw, bytes) else b"")


def _compare(site: str, claims: Claims, leaves: Iterable[bytes]) -> dict[int, bytes]:
    """Compare reports with records; return the Merkle root over the site's records at each size that notes speak of."""
    wanted = _sizes(claims)
    said: dict[int, list[Report]] = {}
    for report in claims.reports:
        said.setdefault(report.seq, []).append(report)
    tree, roots = Tree(), dict[int, bytes]()
    for seq, leaf in enumerate(leaves):
        tree.append(leaf)
        if tree.size in wanted:
            roots[tree.size] = tree.root()
        for report in said.pop(seq, ()):
            if leaf_hash(report.raw) != leaf:
                report.problems.append(f"record {report.at} is not what site/{site} has as its record {seq}")
    for report in (report for reports in said.values() for report in reports):
        report.problems.append(f"record {report.at} repeats record {report.seq} of site/{site}, which has no such")
    return roots


def _sizes(claims: Claims) -> set[int]:
    sizes: set[int] = set()
    for note in claims.notes:
        try:
            sizes.add(parse_checkpoint(note.text).size)
        except RenkeiError:  # found again, and told, when it is verified
            continue
    return sizes


def _note_problem(site: str, text: str, key: PublicKey | None, roots: dict[int, bytes]) -> str:
    if key is None:
        return "nobody vouches for the key that signed it"
    try:
        head = read_checkpoint(text, key)
    except RenkeiError as error:
        return error.message
    if head.origin != f"site/{site}":
        return f"it is of {head.origin}"
    if head.size not in roots:
        return f"it covers {head.size} records, which could not be read"
    return "" if roots[head.size] == head.root else f"the first {head.size} records there have another root"


def _each(lists: Iterable[list[str]]) -> list[list[str]]:
    return list({id(each): each for each in lists}.values())
