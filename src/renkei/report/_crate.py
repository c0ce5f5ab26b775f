"""A campaign as an RO-Crate 1.1 after the Process Run Crate 0.5 profile: files, ledgers and what ran where."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from renkei.clock import SystemClock, iso
from renkei.errors import LedgerError
from renkei.home._home import Home
from renkei.report._crate_runs import RUNS_MAX, Described, add_runs, described_runs, url_of
from renkei.report._crate_tables import write_runs, write_trials
from renkei.report._optional import require
from renkei.report._snapshot import copy_ledger
from renkei.report._verdict import what_was_found
from renkei.report._view import CampaignView, view_campaign
from renkei.trust.endorsement import signatures_path

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


def write_crate(home: Home, name: str) -> Path:
    """Write the folder `crate` of a campaign and return its path; an older one is replaced.

    In it: campaign.toml, report.html if it is there, the ledgers of the campaign, its baselines and its sites (each a
    copy of one moment; a site's ledger tells of all its runs, those of other campaigns too), the agreement and its
    signatures, trials.csv and runs.csv with every trial and run, the datasets, and ro-crate-metadata.json, which
    describes each run that ended as a CreateAction: of more than `RUNS_MAX` runs those of the best trials, the others
    being in runs.csv and the ledgers alone.

    Raises:
        UsageError: There is no such campaign, or rocrate is not installed.
        ConfigError: Its file has mistakes.
        LedgerError: Its ledger, or a baseline's, cannot be read.
    """
    require("rocrate")
    view = view_campaign(home, name)
    target = view.directory / "crate"
    with tempfile.TemporaryDirectory(prefix="renkei-crate-", dir=view.directory) as folder:
        staged, written = Path(folder) / "files", Path(folder) / "crate"
        staged.mkdir()
        _build(home, view, staged).write(written)
        if target.exists():
            target.rename(Path(folder) / "old")
        written.rename(target)
    return target


def _build(home: Home, view: CampaignView, staged: Path) -> Any:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate: Any = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://schema.org/sha256"  # newer than the context of RO-Crate 1.1
    runs = described_runs(view)
    root = crate.root_dataset
    root["name"] = view.definition.title or view.name
    root["description"] = _description(view, runs)
    root["datePublished"] = iso(SystemClock().now())[:10]
    root["identifier"] = f"renkei:campaign:{view.name}"
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, properties=profile))
    release = {
        "@type": "CreativeWork",
        "name": f"Release label '{view.definition.release}'",
        "description": f"Who may see and use this is said by {_agreement_name(view)}, for this label.",
    }
    root["license"] = crate.add(ContextEntity(crate, "#release", properties=release))
    _add_files(crate, view, staged)
    organizations = _add_institutions(crate, view)
    if view.status.institution in organizations:
        root["author"] = root["publisher"] = organizations[view.status.institution]
    root["mentions"] = add_runs(crate, home, view, runs, organizations, staged)
    return crate


def _description(view: CampaignView, runs: Described) -> str:
    parts = [what_was_found(view)]
    if runs.n_left_out:
        parts.append(
            f"The {len(runs.runs):,} runs of the best trials are described one by one (at most {RUNS_MAX:,} are);"
            f" the other {runs.n_left_out:,} are in runs.csv and in the ledgers."
        )
    return " ".join(parts)


def _agreement_name(view: CampaignView) -> str:
    return f"agreement '{view.agreement.name}'" if view.agreement else "the agreement"


def _add_files(crate: Any, view: CampaignView, staged: Path) -> None:
    toml, sqlite = "application/toml", "application/vnd.sqlite3"
    agreement = view.agreement_path
    _add(crate, view.directory / "campaign.toml", "campaign.toml", "The campaign as it was defined", toml)
    _add(crate, view.directory / "report.html", "report.html", "The report for people", "text/html")
    _add(crate, agreement, "agreement.toml", "The agreement that it ran under", toml)
    signatures = signatures_path(agreement)
    _add(crate, signatures, "agreement.toml.sig", "The parties' signatures on the agreement", "application/jsonl")
    _add(crate, write_trials(view, staged), "trials.csv", "Every trial of the campaign and its baselines", "text/csv")
    _add(crate, write_runs(view, staged), "runs.csv", "Every run of the campaign and its baselines", "text/csv")
    ledgers = [(f"{owner.replace('/', '-')}.db", path) for owner, path in view.campaign_ledgers]
    ledgers += [(f"site-{site.name}.db", site.ledger) for site in view.sites if site.ledger]
    for file, path in ledgers:
        copy = staged / file
        try:
            copy_ledger(path, copy)
        except LedgerError as error:
            crate.root_dataset["description"] += f" The ledger {file} could not be copied: {error.message}"
        else:
            what = "The ledger: every fact as a record, with signed checkpoints (renkei ledger verify)"
            _add(crate, copy, f"ledgers/{file}", what, sqlite)


def _add(crate: Any, source: Path, target: str, what: str, kind: str) -> None:
    """Add a file to the crate, if it is there."""
    if source.is_file():
        with open(source, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        crate.add_file(
            source,
            target,
            properties={
                "name": target,
                "description": what,
                "encodingFormat": kind,
                "contentSize": str(source.stat().st_size),
                "sha256": digest,
            },
        )


def _add_institutions(crate: Any, view: CampaignView) -> dict[str, Any]:
    """Add the institutions that asked for runs or ran them; return their entities by id."""
    from rocrate.model.contextentity import ContextEntity

    found: dict[str, Any] = {}
    urls = {site.institution: url for site in view.sites if (url := url_of(view, site.name))}
    for name in dict.fromkeys([view.status.institution, *(site.institution for site in view.sites)]):
        if name:
            institution = view.agreement.institutions.get(name) if view.agreement else None
            properties = {"@type": "Organization", "name": view.title_of(name), "identifier": name}
            if view.agreement and institution and institution.party in view.agreement.parties:
                properties["description"] = f"Institution of {view.agreement.parties[institution.party].name}"
            if name in urls:
                properties["url"] = urls[name]
            found[name] = crate.add(ContextEntity(crate, f"#institution-{name}", properties=properties))
    return found
