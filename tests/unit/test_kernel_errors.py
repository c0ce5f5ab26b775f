"""Errors: their tree, what they say and how they travel."""

import copy
import inspect
import json
import pickle

import pytest

from renkei import errors
from renkei.errors import ConfigError, Infeasible, RenkeiError, UsageError, did_you_mean

TREE = {
    "RenkeiError": ("error", 1, False),
    "UsageError": ("usage", 2, False),
    "ConfigError": ("config", 2, False),
    "AgreementError": ("agreement", 3, False),
    "Denied": ("denied", 3, False),
    "Replayed": ("replayed", 3, False),
    "ApprovalNeeded": ("approval-needed", 3, False),
    "Expired": ("expired", 3, False),
    "SiteError": ("site", 1, False),
    "Unreachable": ("unreachable", 4, True),
    "ProtocolMismatch": ("protocol-mismatch", 1, False),
    "RemoteError": ("remote", 1, False),
    "ExecutorError": ("executor", 1, False),
    "SubmitRejected": ("submit-rejected", 1, False),
    "ReplyUnreadable": ("reply-unreadable", 1, False),
    "InstrumentFault": ("instrument-fault", 1, True),
    "PlanningError": ("planning", 1, False),
    "LedgerError": ("ledger", 1, False),
    "Conflict": ("conflict", 1, False),
    "IntegrityBroken": ("integrity-broken", 1, False),
}


def classes() -> dict[str, type[RenkeiError]]:
    found = (value for _, value in inspect.getmembers(errors, inspect.isclass))
    return {value.__name__: value for value in found if issubclass(value, RenkeiError)}


def test_every_error_has_a_code_an_exit_code_and_says_whether_a_retry_may_help() -> None:
    assert {name: (error.code, error.exit_code, error.retryable) for name, error in classes().items()} == TREE


def test_every_error_is_in_the_tree_at_the_head_of_the_module() -> None:
    assert errors.__doc__ is not None
    assert [name for name in classes() if name not in errors.__doc__] == []


def test_codes_are_unique() -> None:
    assert len({error.code for error in classes().values()}) == len(TREE)


def test_an_error_says_what_is_wrong_and_what_to_do() -> None:
    error = UsageError("No such site.", "Run 'renkei site list'.", site="a")
    assert str(error) == "No such site. Run 'renkei site list'."
    assert str(UsageError("No such site.")) == "No such site."
    assert error.to_json() == {
        "code": "usage",
        "message": "No such site.",
        "hint": "Run 'renkei site list'.",
        "retryable": False,
        "context": {"site": "a"},
    }


def test_a_config_error_lists_every_mistake() -> None:
    error = ConfigError("a.toml", (line for line in ("x: wrong", "y: wrong")), "See the reference.")
    assert str(error) == "a.toml has 2 mistakes:\n  - x: wrong\n  - y: wrong\nSee the reference."
    assert error.mistakes == ["x: wrong", "y: wrong"]
    assert json.loads(json.dumps(error.to_json()))["context"] == {"source": "a.toml", "mistakes": error.mistakes}
    assert str(ConfigError("a.toml", ["x"])) == "a.toml has 1 mistake:\n  - x"


@pytest.mark.parametrize("error", [UsageError("m", "h", a=1), ConfigError("a.toml", ["x", "y"], "h")])
def test_an_error_survives_pickle_and_copy(error: RenkeiError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert (str(other), other.to_json()) == (str(error), error.to_json())


def test_infeasible_is_a_result_and_no_error_of_renkei() -> None:
    assert not issubclass(Infeasible, RenkeiError)


def test_a_word_that_is_near_is_suggested() -> None:
    assert did_you_mean("seeed", ["name", "seed"]) == " Did you mean 'seed'?"
    assert did_you_mean("seeed", {"name": 1, "seed": 2}) == " Did you mean 'seed'?"
    assert did_you_mean("xyz", ["name", "seed"]) == ""
