"""What one version of an agreement changes in another, in plain words."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import cast

from renkei.model.agreement import Agreement
from renkei.model.fields import KEY_PREFIX
from renkei.model.files import Table
from renkei.model.rule import Rule

_LISTS = ("institutions",)
"""Of the tables of parties, institutions, sites and teams: what is a list."""


def differences(old: Agreement, new: Agreement) -> list[str]:
    """Return every difference between two versions of an agreement, a line each.

    The version's number and the digest of the one before it are no differences: they change with every version.
    """
    return [*_terms(old, new), *_tables(old, new), *_contributions(old, new), *_rules(old.rules, new.rules)]


def _terms(old: Agreement, new: Agreement) -> Iterator[str]:
    for word in ("name", "title"):
        before, after = str(getattr(old, word)), str(getattr(new, word))
        if before != after:
            yield f"the agreement's {word} is '{after}' instead of '{before}'"
    if old.starts != new.starts:
        yield f"it holds from {_day(new.starts)} instead of {_day(old.starts)}"
    if old.ends != new.ends:
        yield f"it holds to the end of {_day(new.ends - 1)} instead of {_day(old.ends - 1)}"
    if old.illustrative != new.illustrative:
        yield "its rosters are marked as made-up examples" if new.illustrative else "its rosters are made up no longer"


def _tables(old: Agreement, new: Agreement) -> Iterator[str]:
    kinds: tuple[tuple[str, Mapping[str, Table], Mapping[str, Table]], ...] = (
        ("party", old.parties, new.parties),
        ("institution", old.institutions, new.institutions),
        ("site", old.sites, new.sites),
        ("team", old.teams, new.teams),
    )
    for kind, before, after in kinds:
        for name in before:
            if name not in after:
                yield f"{kind} '{name}' is gone"
        for name, table in after.items():
            if name not in before:
                yield f"{kind} '{name}' is new: {_said(table)}"
            else:
                yield from (f"{kind} '{name}' {change}" for change in _changes(before[name], table))


def _said(table: Table) -> str:
    values = ((name, getattr(table, name)) for name in type(table).model_fields)
    return ", ".join(f"{name} {_shown(value)}" for name, value in values if value is not None)


def _changes(old: Table, new: Table) -> Iterator[str]:
    for name in type(new).model_fields:
        before: object = getattr(old, name)
        after: object = getattr(new, name)
        if before == after:
            continue
        if name in _LISTS:
            had, has = _words(before), _words(after)
            yield from (f"loses {name.removesuffix('s')} '{each}'" for each in _without(had, has))
            yield from (f"gains {name.removesuffix('s')} '{each}'" for each in _without(has, had))
            if sorted(had) == sorted(has):
                yield f"has its {name} in another order"
        elif name == "key":
            yield f"has another key: {_shown(after)} instead of {_shown(before)}"
        else:
            yield f"has {name} {_shown(after)} instead of {_shown(before)}"


def _contributions(old: Agreement, new: Agreement) -> Iterator[str]:
    before = [f"site '{each.site}' gives {each.quantity} to team '{each.team}'" for each in old.contributions]
    after = [f"site '{each.site}' gives {each.quantity} to team '{each.team}'" for each in new.contributions]
    yield from (f"{each} no longer" for each in _without(before, after))
    yield from _without(after, before)


def _rules(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> Iterator[str]:
    before, after = ({rule.id: rule for rule in rules} for rules in (old, new))
    for name in before:
        if name not in after:
            yield f"rule '{name}' is gone"
    for name, rule in after.items():
        if name not in before:
            yield f"rule '{name}' is new: {_rule(rule)}"
        elif rule != before[name]:
            yield f"rule '{name}' says {_rule(rule)} instead of {_rule(before[name])}"
    if before == after and list(before) != list(after):
        yield "rules stand in another order"


def _rule(rule: Rule) -> str:
    """Return what a rule says: its effect, and every pattern that does not fit all."""
    said: list[str] = [rule.effect]
    for field in fields(rule):
        value: object = getattr(rule, field.name)
        if field.name not in ("id", "effect") and value not in (("*",), ""):
            said.append(f"{field.name} {_shown(value)}")
    return " ".join(said)


def _without(these: list[str], those: list[str]) -> list[str]:
    """Return the entries of one list that another does not have, or has less often."""
    rest, left = list(those), list[str]()
    for each in these:
        if each in rest:
            rest.remove(each)
        else:
            left.append(each)
    return left


def _words(values: object) -> list[str]:
    return [str(value) for value in cast("tuple[object, ...]", values)]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if type(value) is tuple:
        return ", ".join(_words(cast(object, value)))
    if isinstance(value, str) and value.startswith(KEY_PREFIX):
        return _fingerprint(value)
    return f"'{value}'"


def _fingerprint(key: str) -> str:
    """Return the id of a public key, as `renkei agreement show` has it; its text where it is no key at all."""
    try:
        raw = base64.b64decode(key.removeprefix(KEY_PREFIX), validate=True)
    except ValueError:
        return f"'{key[:40]}'"
    return hashlib.sha256(raw).digest()[:16].hex()


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
