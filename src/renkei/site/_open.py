"""Making a site from its file."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from renkei.clock import Clock
from renkei.errors import AgreementError, ConfigError, UsageError, did_you_mean
from renkei.executors import Command, Executor, Resources, procedures_in
from renkei.executors.local import LocalExecutor
from renkei.model.agreement import Agreement, load_agreement
from renkei.model.procedure import ProcedureSpec
from renkei.model.site_file import Limits, SiteFile
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.site._jobs import job_offer
from renkei.site._offer import Offered
from renkei.site._site import Site
from renkei.site._terms import AgreementSource
from renkei.trust.keys import Key
from renkei.units import check


def open_site(
    file: SiteFile,
    agreement: Agreement,
    clock: Clock,
    executor: Executor | None = None,
    *,
    agreement_path: Path | None = None,
) -> Site:
    """Return the site that a file describes, ready to be `opened`.

    Args:
        file: What the site offers and how it runs it.
        agreement: Who belongs and who may do what.
        clock: Time, randomness, blocking calls.
        executor: What runs jobs; the one that the file names when left out.
        agreement_path: Where the agreement lies if the file does not say; amendments and notices of revocation are
            taken up from there while the site runs.

    Raises:
        ConfigError: The file or the policy has mistakes.
        UsageError: A procedure cannot be imported, or the key file cannot be used.
        AgreementError: The agreement is not the one that the file names, does not have the site, or has it with
            another institution or key.
        LedgerError: The ledger cannot be opened.
    """
    table = file.site
    if table.agreement is not None and load_agreement(table.agreement).digest != agreement.digest:
        raise AgreementError(
            f"Site '{table.name}' works under the agreement in {table.agreement}, which is not the one here.",
            "Give both sides the same file, byte for byte.",
        )
    key = Key.load(table.key)
    institution = agreement.institutions.get(agreement.institution_of_site(table.name))
    if agreement.institution_of_site(table.name) != table.institution or institution is None:
        raise AgreementError(
            f"The agreement has site '{table.name}' at another institution than '{table.institution}'."
        )
    if institution.key != key.public.text or key.name != table.institution:
        raise AgreementError(
            f"{table.key} is not the key that the agreement has for '{table.institution}'.",
            f"Put the right key there, or amend the agreement: its key is {institution.key[:24]}…",
        )
    offers = offers_of(file)
    policies = policies_of(file, agreement, offers)
    executor = executor or executor_of(file, clock)
    allocations = [(allocation.team, allocation.quantity) for allocation in file.allocations]
    path = table.agreement or agreement_path

    def policy_under(amended: Agreement) -> Policy:
        return Policy(amended.rules, policies_of(file, amended, offers))

    return Site(
        table.name,
        key,
        agreement,
        Policy(agreement.rules, policies),
        offers,
        allocations,
        executor,
        table.data,
        clock,
        source=None if path is None else AgreementSource(path, policy_under),
    )


def policies_of(file: SiteFile, agreement: Agreement, offers: Sequence[Offered]) -> SitePolicies:
    """Return a site's own policies, checked against what it offers and whom the agreement names.

    Raises:
        ConfigError: They cannot be read or have mistakes.
    """
    text, source = DEFAULT_POLICY, "the default policy"
    if file.site.policy is not None:
        try:
            text, source = file.site.policy.read_text(), str(file.site.policy)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(str(file.site.policy), [f"it cannot be read: {error}"]) from error
    known = {"Team": agreement.teams, "Institution": agreement.institutions, "Party": agreement.parties}
    return SitePolicies(text, [offer.spec for offer in offers], source=source, known=known)


def executor_of(file: SiteFile, clock: Clock) -> Executor:
    """Return the engine that a site's file names.

    Raises:
        UsageError: It cannot be had.
    """
    table, data = file.executor, file.site.data
    if table.kind == "local":
        return LocalExecutor(table.workers, data / "logs", clock)
    try:
        module = importlib.import_module(f"renkei.executors.{table.kind}")
    except ModuleNotFoundError as error:
        raise UsageError(f"There is no executor of kind '{table.kind}' here: {error}.") from error
    return getattr(module, f"{table.kind}_executor")(table, data, clock)


def offers_of(file: SiteFile) -> list[Offered]:
    """Return what a site's file puts on offer.

    Raises:
        UsageError: A module cannot be imported.
        ConfigError: A procedure is not in its module, or two have the same name.
    """
    offers: list[Offered] = []
    mistakes: list[str] = []
    for i, entry in enumerate(file.procedures):
        found = {procedure.spec.name: (target, procedure) for target, procedure in procedures_in(entry.use)}
        for name in entry.only:
            if name not in found:
                mistakes.append(f"procedures[{i}].only: {entry.use} has no '{name}'.{did_you_mean(name, found)}")
        if not found:
            mistakes.append(f"procedures[{i}].use: {entry.use} has no function marked @procedure")
        for name, (target, procedure) in found.items():
            if not entry.only or name in entry.only:
                offers.append(_offered(file, entry, procedure.spec, target))
    for command in file.commands:
        template = Command(command.command, command.outputs_file, command.files, tuple(command.infeasible_exit_codes))
        offers.append(_offered(file, command, command.spec, template))
    if file.jobs is not None:
        offers.append(job_offer(file.jobs, file.executor.queue or "", file.executor.account or ""))
    for offer in offers:
        for what in (*offer.spec.parameters, *offer.spec.outputs):
            try:
                check(what.unit)
            except UsageError as error:
                mistakes.append(f"'{offer.spec.name}', {what.name}: {error.message}")
    names = [offer.spec.name for offer in offers]
    mistakes += [f"'{name}' is offered twice" for name in sorted(set(names)) if names.count(name) > 1]
    if mistakes:
        raise ConfigError(f"site '{file.site.name}'", mistakes)
    return offers


def _offered(file: SiteFile, limits: Limits, spec: ProcedureSpec, target: str | Command) -> Offered:
    return Offered(
        spec,
        target,
        limits.charge.unit,
        limits.charge.per_run or 0.0,
        limits.charge.per_hour or 0.0,
        limits.time_limit_s or file.executor.time_limit_s,
        limits.memory_bytes or file.executor.memory_bytes or 0,
        limits.exceeded,
        _resources(file, limits),
    )


def _resources(file: SiteFile, limits: Limits) -> Resources:
    asked, engine = limits.resources, file.executor
    return Resources(
        asked.nodes,
        asked.processes,
        asked.cores,
        asked.gpus,
        asked.memory or limits.memory_bytes or engine.memory_bytes or 0,
        asked.exclusive,
        asked.queue or engine.queue or "",
        asked.account or engine.account or "",
        asked.reservation or "",
    )
