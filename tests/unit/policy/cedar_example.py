"""A site with two procedures, and a question to it."""

from typing import Any

from msgspec import structs

from renkei.model.procedure import ProcedureSpec
from renkei.model.space import Choice, Integer, Real
from renkei.policy import DEFAULT_POLICY, Decision, Question, SitePolicies

SHOT = ProcedureSpec(
    name="laser.shot",
    version="2.1",
    summary="One shot.",
    kind="measurement",
    outputs=(),
    parameters=(
        Real("energy", 0.0, 10.0, "kJ"),
        Integer("pulses", 1, 100),
        Choice("gas", ("H2", "He")),
        Choice("polarised", (True, False)),
        Choice("stage", (1, 2, 3)),
        Choice("angle", (0, 22.5, 45)),
        Choice("mode", ("auto", 1, True)),
    ),
)
EQUILIBRIUM = ProcedureSpec(
    name="fusion.stellarator-equilibrium",
    version="1.0",
    summary="An equilibrium.",
    outputs=(),
    parameters=(Real("aspect_ratio", 4.0, 12.0),),
)
QUESTION = Question(
    team="fusion-energy",
    institution="us-fusion-lab",
    party="us",
    site="jp-fusion-institute",
    campaign="stellarator-qs",
    procedure="laser.shot",
    version="2.1",
    kind="measurement",
    purpose="science",
    release="partners",
    parameters={
        "energy": 1.5, "pulses": 3, "gas": "He", "polarised": True, "stage": 2, "angle": 22.5, "mode": 1
    },
    quantity=2.0,
    unit="instrument-hour",
)  # fmt: skip


def site(text: str = "", **options: Any) -> SitePolicies:
    """Return the policies in `text` beside the one that permits everything."""
    return SitePolicies(text + DEFAULT_POLICY, [SHOT, EQUILIBRIUM], **options)


def forbid(condition: str, action: str = 'action == Action::"laser.shot"') -> str:
    return f'@id("no") forbid (principal, {action}, resource) when {{ {condition} }};\n'


def asked(**changes: Any) -> Question:
    """Return the question with other facts, or other parameters in `parameters`."""
    if "parameters" in changes:
        changes["parameters"] = {**QUESTION.parameters, **changes["parameters"]}
    return structs.replace(QUESTION, **changes)


def ids(decision: Decision) -> list[str]:
    assert all(reason.source == "site" for reason in decision.reasons)
    return [reason.id for reason in decision.reasons]
