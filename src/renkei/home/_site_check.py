"""What can be wrong with a site, found before it serves anybody."""

import shutil
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from renkei.api import listening
from renkei.clock import Clock
from renkei.errors import Conflict, RenkeiError
from renkei.home._home import ServedSite
from renkei.ledger import LedgerReader
from renkei.model.agreement import load_agreement
from renkei.model.serving import is_loopback
from renkei.model.site_file import SiteFile
from renkei.site import executor_of, offers_of, policies_of
from renkei.trust.endorsement import require_signed
from renkei.trust.keys import Key

LITTLE_SPACE_BYTES = 1_000_000_000
SOON_S = 14 * 86_400.0
"""A certificate or an agreement that ends sooner than this is told."""
SKEW_S = 60.0
"""A clock that is so far behind the ledger's last record was put back."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Args:
        check: What was looked at.
        problem: What is wrong, one sentence; "" when all is well.
        note: What was found, for people.
        is_grave: Whether the site cannot serve with it.
    """

    check: str
    problem: str = ""
    note: str = ""
    is_grave: bool = True


async def check_site(path: Path, clock: Clock) -> list[Finding]:
    """Look at everything that a site needs; leaves nothing behind and changes nothing.

    Args:
        path: The site's file.
        clock: Time, blocking calls.

    Raises:
        ConfigError: The file has mistakes: all of them.
    """
    place = ServedSite(path)
    file = place.file
    findings: list[Finding] = []

    async def look(check: str, call: Callable[[], Awaitable[str] | str]) -> None:
        try:
            note = call()
            findings.append(Finding(check, note=note if isinstance(note, str) else await note))
        except RenkeiError as error:
            findings.append(Finding(check, str(error)))
        except OSError as error:
            findings.append(Finding(check, f"{error.filename or check}: {error.strerror or error}."))

    await look("key", lambda: _key(file))
    await look("agreement", lambda: _agreement(file, clock))
    await look("procedures", lambda: _procedures(file))
    await look("policy", lambda: _policy(file))
    for problem in (problems := await executor_of(file, clock).check()):
        findings.append(Finding("executor", problem))
    if not problems:
        findings.append(Finding("executor", note=f"{file.executor.kind} answers"))
    await look("storage", lambda: _storage(place))
    await look("clock", lambda: _clock(file.site.data, clock))
    await look("address", lambda: _address(file))
    findings += _warnings(file, clock)
    return findings


def _key(file: SiteFile) -> str:
    key = Key.load(file.site.key)
    if key.name != file.site.institution:
        raise RenkeiError(f"{file.site.key} is the key of '{key.name}', not of '{file.site.institution}'.")
    return f"{key.public.id} of {key.name}"


def _agreement(file: SiteFile, clock: Clock) -> str:
    path = file.site.agreement
    if path is None:
        raise RenkeiError("No agreement is named.", 'Put agreement = "agreement.toml" into [site].')
    agreement = load_agreement(path)
    require_signed(agreement, path)
    if not agreement.is_in_term(clock.now()):
        raise RenkeiError(f"The agreement '{agreement.name}' is not in its term.")
    institution = agreement.institutions.get(agreement.institution_of_site(file.site.name))
    if institution is None or agreement.institution_of_site(file.site.name) != file.site.institution:
        raise RenkeiError(
            f"The agreement has '{file.site.name}' at another institution than '{file.site.institution}'."
        )
    if institution.key != Key.load(file.site.key).public.text:
        raise RenkeiError(f"The agreement has another key for '{file.site.institution}' than {file.site.key}.")
    for allocation in file.allocations:
        if allocation.team not in agreement.teams:
            raise RenkeiError(f"The agreement has no team '{allocation.team}', which [[allocations]] names.")
    return f"{agreement.name}, version {agreement.version}, signed by every party"


def _procedures(file: SiteFile) -> str:
    names = [offer.spec.name for offer in offers_of(file)]
    return ", ".join(names) or "none on offer"


def _policy(file: SiteFile) -> str:
    if file.site.agreement is None:
        return "not looked at: no agreement"
    policies_of(file, load_agreement(file.site.agreement), offers_of(file))
    return str(file.site.policy or "the default policy")


def _storage(place: ServedSite) -> str:
    data = place.path
    is_new = not data.exists()
    try:
        with place.locked():
            probe = data / ".probe"
            probe.write_bytes(b"renkei")
            probe.unlink()
    except Conflict:
        return f"{data} is in use: the site is open"
    free = shutil.disk_usage(data).free
    if is_new:
        (data / "lock").unlink()
        data.rmdir()
    if free < LITTLE_SPACE_BYTES:
        raise RenkeiError(f"{data} has {free / 1e6:,.0f} MB left.", "Make room before it is full.")
    return f"{data} can be written, {free / 1e9:,.0f} GB free"


def _clock(data: Path, clock: Clock) -> str:
    now, path = clock.now(), data / "ledger.db"
    if path.exists():
        with LedgerReader(path) as ledger:
            last = next(iter(ledger.records(max(0, ledger.tree_size - 1))), None)
        if last is not None and last.at > now + SKEW_S:
            raise RenkeiError(
                f"This machine's clock is {last.at - now:,.0f} s behind the ledger's last record.", "Set the clock."
            )
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _address(file: SiteFile) -> str:
    table = file.serve
    if table is None:
        raise RenkeiError("Nothing says where the site listens.", "Add a table [serve].")
    if table.certificate is not None and table.certificate_key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(table.certificate, table.certificate_key)
        except ssl.SSLError as error:
            raise RenkeiError(f"Certificate and key do not fit: {error.reason}.") from error
    with listening(table):
        return f"{table.host} port {table.port or 'any that is free'} can be listened at"


def _warnings(file: SiteFile, clock: Clock) -> Iterable[Finding]:
    now = clock.now()
    if file.serve is not None and file.serve.certificate is not None:
        try:
            certificate = x509.load_pem_x509_certificate(file.serve.certificate.read_bytes())
        except (OSError, ValueError) as error:
            yield Finding("certificate", f"{file.serve.certificate} cannot be read: {error}.")
        else:
            left = certificate.not_valid_after_utc.timestamp() - now
            if left < SOON_S:
                yield Finding("certificate", f"It ends in {left / 86_400:.0f} days.", is_grave=left < 0)
    elif file.serve is not None and not is_loopback(file.serve.host):
        yield Finding("certificate", "Without TLS the site listens on loopback only.")
    if not file.allocations:
        yield Finding("allocations", "No team has any: every run will be refused.", is_grave=False)
