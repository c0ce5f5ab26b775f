"""Policies of a site, in Cedar (cedarpolicy.com).

The principal is `Team::"NAME"`, in its institution and party; the resource is `Procedure::"NAME"` with the attributes
area, kind and version; each procedure has an action of its name in the group `Action::"run"`; the context has
institution, party, site, campaign, purpose, release, unit, quantity and the procedure's parameters::

    @id("no-export")
    @reason("Results of this laser stay in the country.")
    forbid (principal in Party::"atlantis", action in Action::"run", resource)
    when { context.release != "public" };

    @id("hot-shots")
    @ask("More than 5 kJ needs the shot director.")
    permit (principal, action == Action::"laser.shot", resource)
    when { context.parameters.energy.greaterThan(decimal("5.0")) };

Numbers that are not whole are Cedar's `decimal`. Comparisons with a limit of at most three decimals are exact; a limit
with more is refused, as is everything else that is wrong, when policies are loaded.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files

import cedarpy
from cedarpy import pst

from renkei.errors import ConfigError
from renkei.model.procedure import ProcedureSpec
from renkei.model.records import Reason
from renkei.policy._memo import Memo
from renkei.policy._reading import SitePolicy, Vocabulary, looks_at_runs, read_policies
from renkei.policy._schema import (
    FACTS,
    PER_RUN,
    RESOURCE,
    RUN_GROUP,
    askers_of,
    entities_of,
    kinds_of,
    request_of,
    schema_of,
)
from renkei.policy.decision import Decision
from renkei.policy.question import Question

DEFAULT_POLICY = files("renkei.policy").joinpath("default.cedar").read_text("utf-8")
"""Permits what the agreement allows. Without this permit, or one like it, a site's policies deny everything."""

_FAILED = re.compile(r"^error while evaluating policy `([^`]*)`: ")


class SitePolicies:
    """A site's policies, parsed and validated once; may be asked from several threads.

    Fails closed: what no policy permits is denied, and so is whatever a policy cannot be evaluated for.

    Args:
        text: The policies; none at all deny everything.
        procedures: What the site offers.
        source: What to call the text in errors, for example its path.
        known: The names there are, by "Team", "Institution" and "Party": policies that name another are refused. A
            type that is left out may have any name.

    Raises:
        ConfigError: Policies or procedures have mistakes; lists all of them with their lines.
    """

    uses_parameters: bool
    """Whether any policy looks at parameters or quantity: if not, decisions are the same for all of a campaign's runs
    of a procedure, and are remembered."""

    def __init__(
        self,
        text: str,
        procedures: Sequence[ProcedureSpec],
        *,
        source: str = "The site's policy",
        known: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        _check_names(procedures, source)
        self._specs = {spec.name: spec for spec in procedures}
        self._kinds = {spec.name: kinds_of(spec) for spec in procedures}
        whole = cedarpy.Schema.from_json_str(schema_of(procedures, per_run=True))
        self.schema = str(whole)
        """What policies can see, in Cedar's own schema language."""
        parameters = {name for kinds in self._kinds.values() for name in kinds}
        vocabulary = Vocabulary(
            schema=whole if procedures else None,
            attributes={*FACTS, *PER_RUN, *RESOURCE, *parameters},
            names={**(known or {}), "Procedure": tuple(self._specs)},
        )
        policies, mistakes = read_policies(text, vocabulary)
        if mistakes:
            hint = 'A policy that looks at context.parameters needs action == Action::"PROCEDURE" in its head.'
            raise ConfigError(source, mistakes, hint if any("`parameters." in m for m in mistakes) else "")
        self._policies = {policy.id: policy for policy in policies}
        self.uses_parameters = looks_at_runs(policies)
        self._set = cedarpy.PolicySet.from_pst(_policy_set(policies))
        # Without per-run attributes in its schema a request never carries them, so nothing in a remembered decision
        # can come from the one run that happened to be first.
        self._schema = (
            whole if self.uses_parameters else cedarpy.Schema.from_json_str(schema_of(procedures, per_run=False))
        )
        self._procedures = cedarpy.Entities.from_json_str(  # pyright: ignore[reportUnknownMemberType]
            entities_of(procedures), self._schema
        )
        self._askers = Memo[tuple[str, str, str], cedarpy.Entities](limit=256)
        self._decisions = Memo[tuple[str, ...], Decision]()

    def decide(self, question: Question) -> Decision:
        """Return the site's decision, with all policies that determined it as reasons, in the order of the text."""
        if self.uses_parameters:
            return self._evaluate(question)
        return self._decisions.get(question.facts, lambda: self._evaluate(question))

    def _evaluate(self, question: Question) -> Decision:
        spec = self._specs.get(question.procedure)
        if spec is None or (spec.version, spec.kind) != (question.version, question.kind):
            wanted = f"{question.kind} '{question.procedure}' version {question.version}"
            return _deny("site.not-offered", f"The site does not offer the {wanted}.")
        try:
            asker = (question.team, question.institution, question.party)
            entities = self._askers.get(asker, lambda: self._with_askers(question))
            request = request_of(question, self._kinds[spec.name], self.uses_parameters)
            result = cedarpy.is_authorized(  # pyright: ignore[reportUnknownMemberType]
                request, self._set, entities, self._schema
            )
            # Cedar names policies in no order, but the same question has to give the same record.
            answer, errors = result.decision, sorted(result.diagnostics.errors)
            fired = sorted((self._policies[id_] for id_ in result.diagnostics.reasons), key=lambda p: p.position)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in Cedar or on the way to it, the answer is no
            return _deny("site.unreadable", f"The site's policies cannot read the question: {error}.")
        forbids = [_reason(policy) for policy in fired if not policy.permits]
        if errors or answer is cedarpy.Decision.NoDecision:
            return Decision("deny", (*forbids, *_failures(errors)))
        if forbids:
            return Decision("deny", tuple(forbids))
        if answer is not cedarpy.Decision.Allow or not fired:
            return _deny("site.no-permit", "No policy of the site permits it.")
        asking = [policy for policy in fired if policy.ask]
        return Decision("ask" if asking else "allow", tuple(_reason(policy) for policy in asking or fired))

    def _with_askers(self, question: Question) -> cedarpy.Entities:
        added = askers_of(question)
        return self._procedures.with_added_json_str(added)  # pyright: ignore[reportUnknownMemberType]


def _check_names(procedures: Sequence[ProcedureSpec], source: str) -> None:
    counts = Counter(spec.name for spec in procedures)
    mistakes = [f"procedure '{name}' is offered {n} times; offer one version" for name, n in counts.items() if n > 1]
    if RUN_GROUP in counts:
        mistakes.append(f"a procedure is called '{RUN_GROUP}', which stands for all procedures here; rename it")
    if mistakes:
        raise ConfigError(source, mistakes)


def _policy_set(policies: Sequence[SitePolicy]) -> pst.PolicySet:
    """Return the policies in one set in which Cedar's own ids are those of the annotations."""
    nodes = {policy.id: replace(policy.node, id=policy.id) for policy in policies}
    return pst.PolicySet(templates={}, static_policies=nodes, template_links=())


def _reason(policy: SitePolicy) -> Reason:
    verb = "permits" if policy.permits else "forbids"
    return Reason(policy.id, policy.ask or policy.reason or f"Policy '{policy.id}' of the site {verb} it.", "site")


def _failures(errors: Sequence[str]) -> Iterator[Reason]:
    for error in errors or ("no decision",):
        found = _FAILED.match(error)
        id_, what = (found[1], error[found.end() :]) if found else ("site.unreadable", error)
        subject = f"Policy '{id_}' of the site" if found else "The question"
        yield Reason(id_, f"{subject} could not be evaluated, so the answer is no: {what}.", "site")


def _deny(id_: str, text: str) -> Decision:
    return Decision("deny", (Reason(id_, text, "site"),))
