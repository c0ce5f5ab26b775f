"""What policies of a site can see, as a Cedar schema; and questions put in its terms.

Cedar's `decimal` has four decimals, and its comparisons are all that policies can do with one. So a number is given
to Cedar in such a way that every comparison with a literal of at most three decimals comes out as it would with the
number itself: see `cedar_decimal`. Literals with more decimals are refused when policies are loaded.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal
from math import isnan
from typing import Any, Literal

from renkei.model.procedure import ProcedureSpec
from renkei.model.space import Integer, Parameter, Real, Value
from renkei.policy.question import Question

Kind = Literal["decimal", "long", "boolean", "string", "text"]
"""What Cedar sees a parameter as; "text" is a choice between values of several types, other than strings as JSON."""
LITERAL_DECIMALS = 3
"""Decimals that a policy may write in a `decimal` literal."""
RUN_GROUP = "run"
"""The action group that every procedure's action belongs to."""
FACTS = ("institution", "party", "site", "campaign", "purpose", "release", "unit")
"""Attributes of the context that are text and the same for many runs."""
PER_RUN = ("parameters", "quantity")
"""Attributes of the context that differ from run to run."""
RESOURCE = ("area", "kind", "version")
"""Attributes of a procedure."""

_KINDS: dict[type, Kind] = {str: "string", bool: "boolean", int: "long", float: "decimal"}
_COARSE, _FINE = Decimal("0.001"), Decimal("0.0001")
_HIGHEST, _LOWEST = Decimal("922337203685477.5807"), Decimal("-922337203685477.5808")
_STRING: dict[str, Any] = {"type": "String"}
_DECIMAL: dict[str, Any] = {"type": "Extension", "name": "decimal"}
_TYPES: dict[Kind, dict[str, Any]] = {
    "decimal": _DECIMAL,
    "long": {"type": "Long"},
    "boolean": {"type": "Boolean"},
    "string": _STRING,
    "text": _STRING,
}


def cedar_decimal(value: object) -> str:
    """Return the Cedar decimal that compares with every literal of at most three decimals as `value` does.

    A number with more than three decimals becomes one with four that lies strictly between the same two neighbours of
    three decimals; one beyond Cedar's range (about 9.2e14) becomes the end of that range, which no literal of three
    decimals reaches. Floats count as they are written in JSON: 0.1 is one tenth.

    Raises:
        ValueError: It is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and isnan(value)):
        raise ValueError(f"found {value!r}, expected a number")
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    if not _LOWEST < exact < _HIGHEST:
        return str(_HIGHEST if exact > 0 else _LOWEST)
    below = exact.quantize(_COARSE, ROUND_FLOOR)
    if below == exact:
        return f"{below + 0:f}"  # adding nothing makes minus zero plain
    fine = exact.quantize(_FINE, ROUND_FLOOR)
    return f"{fine if fine > below else below + _FINE:f}"


def schema_of(procedures: Sequence[ProcedureSpec], per_run: bool) -> str:
    """Return the schema as Cedar JSON: one action a procedure, its parameters typed.

    Args:
        procedures: What the site offers; names are unique and none is "run".
        per_run: Whether the context has what differs from run to run: parameters and quantity.
    """
    actions: dict[str, Any] = {RUN_GROUP: {}}
    for spec in procedures:
        context: dict[str, Any] = dict.fromkeys(FACTS, _STRING)
        if per_run:
            parameters = {name: _TYPES[kind] for name, kind in kinds_of(spec).items()}
            context |= {"quantity": _DECIMAL, "parameters": _record(parameters)}
        actions[spec.name] = {
            "memberOf": [{"id": RUN_GROUP}],
            "appliesTo": {"principalTypes": ["Team"], "resourceTypes": ["Procedure"], "context": _record(context)},
        }
    entities: dict[str, Any] = {
        "Party": {},
        "Institution": {"memberOfTypes": ["Party"]},
        "Team": {"memberOfTypes": ["Institution", "Party"]},
        "Procedure": {"shape": _record(dict.fromkeys(RESOURCE, _STRING))},
    }
    return json.dumps({"": {"entityTypes": entities, "actions": actions}})


def kinds_of(spec: ProcedureSpec) -> dict[str, Kind]:
    """Return what Cedar sees each parameter of a procedure as."""
    kinds: dict[str, Kind] = {parameter.name: _kind(parameter) for parameter in spec.parameters}
    for text in spec.texts:
        kinds[text] = "string"
    return kinds


def entities_of(procedures: Sequence[ProcedureSpec]) -> str:
    """Return the procedures as Cedar entities in JSON."""
    return json.dumps(
        [
            {
                "uid": _uid("Procedure", spec.name),
                "attrs": {"area": spec.name.partition(".")[0], "kind": spec.kind, "version": spec.version},
                "parents": [],
            }
            for spec in procedures
        ]
    )


def askers_of(question: Question) -> str:
    """Return team, institution and party as Cedar entities in JSON, each a member of those after it."""
    party = _uid("Party", question.party)
    institution = _uid("Institution", question.institution)
    return json.dumps(
        [
            {"uid": _uid("Team", question.team), "attrs": {}, "parents": [institution, party]},
            {"uid": institution, "attrs": {}, "parents": [party]},
            {"uid": party, "attrs": {}, "parents": []},
        ]
    )


def request_of(question: Question, kinds: Mapping[str, Kind], per_run: bool) -> dict[str, Any]:
    """Return the question as a Cedar request. Values of a wrong type stay as they are: Cedar refuses them.

    Args:
        question: What is asked.
        kinds: See `kinds_of`.
        per_run: See `schema_of`.

    Raises:
        ValueError: What has to be a number is none; says which.
    """
    context: dict[str, Any] = {name: getattr(question, name) for name in FACTS}
    if per_run:
        parameters = question.parameters.items()
        context["quantity"] = _seen("quantity", question.quantity, "decimal")
        context["parameters"] = {name: _seen(name, value, kinds.get(name)) for name, value in parameters}
    return {
        "principal": _uid("Team", question.team),
        "action": _uid("Action", question.procedure),
        "resource": _uid("Procedure", question.procedure),
        "context": json.dumps(context),
    }


def _seen(name: str, value: Value, kind: Kind | None) -> Value:
    if kind == "text" and not isinstance(value, str):
        return json.dumps(value)
    if kind != "decimal":
        return value
    try:
        return cedar_decimal(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _kind(parameter: Parameter) -> Kind:
    if isinstance(parameter, Real):
        return "decimal"
    if isinstance(parameter, Integer):
        return "long"
    kinds: set[type] = {type(value) for value in parameter.values}
    if len(kinds) == 1:
        return _KINDS[kinds.pop()]
    return "decimal" if kinds == {int, float} else "text"


def _record(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Record", "attributes": attributes}


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}
