"""Amendments of an agreement: what is written, what stays, and every difference in words."""

import pytest
from file_keys import changed
from test_agreement_file import CHANGES, TEXT

from renkei.errors import ConfigError
from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_changes import differences
from renkei.model.agreement_text import amended_text

INDIA = {
    "parties": {"in": Party(name="India", key="renkei1:in")},
    "institutions": {"in-lab": Institution(name="IN Lab", party="in", key="renkei1:in-lab")},
    "sites": {"in-site": AgreementSite(institution="in-lab", url="https://in.example.org")},
    "teams": {
        "fusion-energy": Team(
            name="Fusion energy", institutions=("us-fusion-lab", "jp-fusion-institute", "in-lab")
        ),
        "muons": Team(name="Muons", institutions=("in-lab",)),
    },
}  # fmt: skip
NOTHING: dict[str, dict[str, object]] = {"parties": {}, "institutions": {}, "sites": {}, "teams": {}}


def amended(old: Agreement, **more: object) -> Agreement:
    return parse_agreement(amended_text(old, **{**NOTHING, **more}))  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [key for key in CHANGES if key not in ("agreement.version", "agreement.previous")])
def test_no_difference_is_left_out(key: str) -> None:
    old, new = parse_agreement(TEXT), parse_agreement(changed(TEXT, *CHANGES[key]))
    assert differences(old, old) == []
    assert differences(old, new)
    assert differences(new, old)


def test_differences_read_plainly() -> None:
    old = parse_agreement(TEXT)
    text = TEXT.replace('key = "renkei1:us"', 'key = "renkei1:AAAA"').replace("2031-06-03", "2032-06-03")
    text = text.replace('["us-fusion-lab", "jp-fusion-institute"]', '["jp-fusion-institute"]')
    text = text.replace("40 node-hour", "50 node-hour").replace('effect = "allow"', 'effect = "deny"')
    said = differences(old, parse_agreement(text + '[[rules]]\nid = "ask-all"\neffect = "ask"\n'))
    assert said == [
        "it holds to the end of 2032-06-03 instead of 2031-06-03",
        "party 'us' has another key: 709e80c88487a2411e1ee4dfb9f22a86 instead of 'renkei1:us'",
        "team 'fusion-energy' loses institution 'us-fusion-lab'",
        "site 'us-site' gives 40 node-hour to team 'fusion-energy' no longer",
        "site 'us-site' gives 50 node-hour to team 'fusion-energy'",
        "rule 'open-research' says deny teams fusion-energy procedures fusion.* sites us-* purposes open-research"
        " institutions jp-* parties jp reason 'Because.' instead of allow teams fusion-energy procedures fusion.*"
        " sites us-* purposes open-research institutions jp-* parties jp reason 'Because.'",
        "rule 'ask-all' is new: ask",
    ]


def test_order_counts() -> None:
    old = parse_agreement(TEXT + '[[rules]]\nid = "a"\neffect = "ask"\n[[rules]]\nid = "b"\neffect = "ask"\n')
    new = parse_agreement(TEXT + '[[rules]]\nid = "b"\neffect = "ask"\n[[rules]]\nid = "a"\neffect = "ask"\n')
    assert differences(old, new) == ["rules stand in another order"]
    turned = TEXT.replace('["us-fusion-lab", "jp-fusion-institute"]', '["jp-fusion-institute", "us-fusion-lab"]')
    assert differences(parse_agreement(TEXT), parse_agreement(turned)) == [
        "team 'fusion-energy' has its institutions in another order"
    ]


def test_an_accession_adds_and_changes_nothing_else() -> None:
    old = parse_agreement(TEXT)
    new = amended(old, **INDIA)
    assert (new.version, new.previous) == (old.version + 1, old.digest)
    assert [line.partition(":")[0] for line in differences(old, new)] == [
        "party 'in' is new",
        "institution 'in-lab' is new",
        "site 'in-site' is new",
        "team 'fusion-energy' gains institution 'in-lab'",
        "team 'muons' is new",
    ]
    assert new.sites["in-site"].url == "https://in.example.org"


def test_what_people_wrote_stays() -> None:
    text = TEXT.replace("[agreement]", "# Ours.\n[agreement] # terms").replace("\n[[rules]]", "\n# Why.\n[[rules]]")
    new = amended(parse_agreement(text), **INDIA)
    for comment in ("# Ours.\n", "[agreement] # terms", "# Why.", "# Added in version 3."):
        assert comment in new.source.decode()
    again = amended(new)
    assert (again.version, again.previous, again.source.decode().count("previous =")) == (4, new.digest, 1)
    assert differences(new, again) == []


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("[agreement]\n", "[ agreement ]\n"),
        TEXT.replace("[teams.fusion-energy]", '[teams."fusion-energy"]'),
        TEXT.replace('["us-fusion-lab", "jp-fusion-institute"]', '["us-fusion-lab", # ]\n"jp-fusion-institute"]'),
        TEXT.replace('title = "Genesis"', 'title = """\nversion = 2\n"""'),
    ],
)
def test_a_file_written_in_another_way_is_written_anew(text: str) -> None:
    old = parse_agreement(text)
    new = amended(old, **INDIA)
    assert new.version == old.version + 1
    assert len(differences(old, new)) == 5
    assert set(new.institutions) == {*old.institutions, "in-lab"}


def test_line_ends_of_windows_are_no_hindrance() -> None:
    old = parse_agreement(TEXT.replace("\n", "\r\n"))
    assert len(differences(old, amended(old, **INDIA))) == 5


def test_terms_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected the name of an institution"):
        amended(parse_agreement(TEXT), sites={"x": AgreementSite(institution="nobody")})
