"""What the rules of an agreement say about a question."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from renkei.model.records import Reason
from renkei.model.rule import Effect, Rule
from renkei.policy.decision import Decision
from renkei.policy.question import Question

_VERBS: dict[Effect, str] = {"allow": "allows it", "deny": "forbids it", "ask": "wants a person to approve it"}


def decide_by_rules(rules: Iterable[Rule], question: Question) -> Decision:
    """Return the decision of the rules that apply: deny beats ask beats allow, and no rule at all means deny.

    Every rule of the winning effect is among the reasons, in the order of the agreement. An ask rule needs no allow
    rule beside it.
    """
    fitting = [rule for rule in rules if _applies(rule, question)]
    for effect in ("deny", "ask", "allow"):
        if winners := [rule for rule in fitting if rule.effect == effect]:
            return Decision(effect, tuple(_reason(rule) for rule in winners))
    who = f"team '{question.team}' of '{question.institution}' ({question.party})"
    text = f"No rule of the agreement lets {who} run '{question.procedure}' at '{question.site}'"
    return Decision("deny", (Reason("agreement.no-rule", f"{text} for '{question.purpose}'.", "agreement"),))


def _applies(rule: Rule, question: Question) -> bool:
    return (
        _fits(rule.teams, question.team)
        and _fits(rule.procedures, question.procedure)
        and _fits(rule.sites, question.site)
        and _fits(rule.purposes, question.purpose)
        and _fits(rule.institutions, question.institution)
        and _fits(rule.parties, question.party)
    )


def _fits(patterns: tuple[str, ...], word: str) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns)


def _reason(rule: Rule) -> Reason:
    return Reason(rule.id, rule.reason or f"Rule '{rule.id}' of the agreement {_VERBS[rule.effect]}.", "agreement")
