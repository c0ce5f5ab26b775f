"""Loading a site's policies: every mistake is found, with its line, before anything is decided."""

from dataclasses import replace
from pathlib import Path

import pytest
from cedar_example import EQUILIBRIUM, QUESTION, SHOT, forbid, site
from msgspec import structs

from renkei import policy
from renkei.errors import ConfigError
from renkei.policy import DEFAULT_POLICY, SitePolicies
from renkei.policy._reading import split

HEAD = '@id("x") permit (principal, action, resource)'


def mistakes(text: str, known: dict[str, list[str]] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        SitePolicies(text, [SHOT, EQUILIBRIUM], source="laser.cedar", known=known)
    assert str(caught.value).startswith("laser.cedar has ")
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action, resource);", 'every policy needs @id("NAME")'),
        ('@id("") permit (principal, action, resource);', 'every policy needs @id("NAME")'),
        ('@id("a b") permit (principal, action, resource);', 'every policy needs @id("NAME")'),
        (f"{HEAD};{HEAD};", "another policy has the same @id"),
        ('@id("x") @aks("why") permit (principal, action, resource);', "no annotation @aks. Did you mean 'ask'?"),
        ('@id("x") @ask("why") forbid (principal, action, resource);', "@ask belongs to a permit"),
        ('@id("x") @ask permit (principal, action, resource);', "@ask needs a text"),
        ('@id("x") permit (principal == ?principal, action, resource);', "templates (?principal, ?resource)"),
        ('@id("x") permit (principal == ?principal, action, resource == ?resource);', "templates"),
        (HEAD, "unexpected end of input"),
        (HEAD + " when { oops };", "invalid variable: oops"),
        ("hello;", "unexpected token"),
        (HEAD + ' when { context.colour == "red" };', "attribute `colour` in context"),
        (HEAD + ' when { resource.colour == "red" };', "attribute `colour` on entity type `Procedure` not found"),
        (HEAD + " when { principal.age > 3 };", "attribute `age` on entity type `Team` not found"),
        (HEAD + " when { context.unit == 4 };", "not compatible"),
        (HEAD + " when { context.parameters.pulses > 3 };", "attribute `parameters.pulses` in context"),
        (forbid('context.parameters.gas > "A"'), "but saw String"),
        (forbid("context.parameters.energy > 4"), "but saw decimal"),
        (forbid('context.parameters.energy.lessThan(decimal("0.0005"))'), 'decimal("0.0005") has more than 3 decimals'),
        (forbid("context.parameters has energie"), "nothing has an attribute 'energie'. Did you mean 'energy'?"),
        (forbid("context has paramters"), "Did you mean 'parameters'?"),
        ('@id("x") forbid (principal, action == Action::"laser.sht", resource);', "unrecognized action"),
        ('@id("x") forbid (principal in Pary::"us", action, resource);', "unrecognized entity type `Pary`"),
        ('@id("x") forbid (principal, action, resource == Procedure::"laser.sht");', "Did you mean 'laser.shot'?"),
    ],
)
def test_a_mistake_is_refused(text: str, said: str) -> None:
    found = mistakes('// a comment; with "a quote\n\n' + text)
    assert any(said in mistake for mistake in found), found
    assert all(mistake.startswith("line 3") for mistake in found)


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = """
        @id("fine") permit (principal, action, resource);
        permit (principal, action, resource);

        @id("export")
        forbid (principal, action, resource) when { context.realease == "public; really" };  // ; not the end
        @id("last") forbid (principal, action, resource"""
    assert mistakes(text) == [
        'line 3: every policy needs @id("NAME") of letters, digits, dots and dashes; decisions are explained with it',
        "line 5, policy 'export': attribute `realease` in context for Action::\"fusion.stellarator-equilibrium\" "
        "not found (and for 1 more)",
        "line 7: unexpected end of input",
    ]


def test_the_hint_says_how_to_speak_of_parameters() -> None:
    with pytest.raises(ConfigError) as caught:
        site(HEAD + " when { context.parameters.pulses > 3 };")
    assert 'action == Action::"PROCEDURE"' in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        site("permit (principal, action, resource);")
    assert not caught.value.hint


@pytest.mark.parametrize(("kind", "name"), [("Team", "fusion"), ("Institution", "us-lab"), ("Party", "usa")])
def test_a_name_that_nobody_bears_is_refused_where_the_names_are_known(kind: str, name: str) -> None:
    known = {"Team": ["fusion-energy"], "Institution": ["us-fusion-lab"], "Party": ["us", "jp"]}
    text = f'@id("x") forbid (principal, action, resource) when {{ principal in [{kind}::"{name}"] }};'
    assert site(text).decide(QUESTION).effect == "allow"
    assert any(f'there is no {kind}::"{name}"' in mistake for mistake in mistakes(text, known=known))
    assert site(text.replace(name, known[kind][0]), known=known).decide(QUESTION).effect == "deny"


def test_has_may_ask_for_a_parameter_that_only_some_procedures_take() -> None:
    text = forbid("context.parameters has pulses && context.parameters.pulses > 2", 'action in Action::"run"')
    policies = site(text)
    assert policies.decide(QUESTION).effect == "deny"
    other = structs.replace(QUESTION, procedure=EQUILIBRIUM.name, version="1.0", kind="simulation")
    assert policies.decide(structs.replace(other, parameters={"aspect_ratio": 5.0})).effect == "allow"


def test_procedures_have_names_of_their_own() -> None:
    with pytest.raises(ConfigError, match=r"'laser\.shot' is offered 2 times"):
        SitePolicies(DEFAULT_POLICY, [SHOT, replace(SHOT, version="3.0")])
    with pytest.raises(ConfigError, match="a procedure is called 'run'"):
        SitePolicies(DEFAULT_POLICY, [replace(SHOT, name="run")])


def test_a_site_without_procedures_can_be_set_up() -> None:
    decision = SitePolicies(DEFAULT_POLICY, []).decide(QUESTION)
    assert decision.reasons[0].id == "site.not-offered"


def test_policies_end_at_semicolons_outside_strings_and_comments() -> None:
    text = 'a "x;\\";" b; // c;\n\n d "open'
    assert list(split(text)) == [(1, 'a "x;\\";" b;'), (3, 'd "open')]


def test_the_default_policy_is_a_file_of_the_package() -> None:
    assert Path(policy.__file__).with_name("default.cedar").read_text() == DEFAULT_POLICY
