"""Every error that renkei raises.

::

    RenkeiError
    ├── UsageError                 the caller asked for something that cannot be
    │   └── ConfigError            a file has mistakes (all of them are listed)
    ├── AgreementError             the terms of the partnership say no
    │   ├── Denied
    │   │   └── Replayed
    │   ├── ApprovalNeeded
    │   └── Expired
    ├── SiteError                  a site could not do its part
    │   ├── Unreachable
    │   ├── ProtocolMismatch
    │   └── RemoteError
    ├── ExecutorError              an engine under a site could not do its part
    │   ├── SubmitRejected
    │   ├── ReplyUnreadable
    │   └── InstrumentFault
    ├── PlanningError              a planner could not propose a point
    └── LedgerError                facts cannot be kept or do not add up
        ├── Conflict
        └── IntegrityBroken

`Infeasible` stands beside the tree: a procedure raises it to say that the point cannot work, which is a
result and not a fault.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class RenkeiError(Exception):
    """The root of every error of renkei.

    Args:
        message: One sentence that says what is wrong.
        hint: One sentence that says what to do next; may be empty.
        context: Further facts for a log or a problem document; plain JSON values.
    """

    code: ClassVar[str] = "error"
    """Stable name of this kind of error in JSON and over the wire."""
    exit_code: ClassVar[int] = 1
    """What a command-line program exits with."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without any change."""

    def __init__(self, message: str, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context: dict[str, Any] = context

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return the plain JSON form: code, message, hint, retryable, context."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "context": self.context,
        }


class UsageError(RenkeiError):
    """The caller asked for something that cannot be."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A file has mistakes; `mistakes` lists all of them.

    Args:
        source: The file (or what stands for one).
        mistakes: Each mistake: its path in the file, what was found, what is expected.
    """

    code = "config"

    def __init__(self, source: str, mistakes: Iterable[str], hint: str = "") -> None:
        self.source = source
        self.mistakes = list(mistakes)
        n = len(self.mistakes)
        head = f"{source} has {n} mistake{'s' if n != 1 else ''}:"
        super().__init__("\n  - ".join([head, *self.mistakes]), hint, source=source, mistakes=self.mistakes)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigError, (self.source, self.mistakes, self.hint)


class AgreementError(RenkeiError):
    """The terms of the partnership say no."""

    code = "agreement"
    exit_code = 3


class Denied(AgreementError):
    """Policy or agreement forbids it; the message carries the reasons."""

    code = "denied"


class Replayed(Denied):
    """A signed batch came before. It says nothing about what became of the first one: ask about its runs."""

    code = "replayed"


class ApprovalNeeded(AgreementError):
    """A person has to approve it first."""

    code = "approval-needed"


class Expired(AgreementError):
    """The agreement, a key or a signed request is out of its term."""

    code = "expired"


class SiteError(RenkeiError):
    """A site could not do its part."""

    code = "site"


class Unreachable(SiteError):
    """No answer from a site: what happened there is unknown, not failed."""

    code = "unreachable"
    exit_code = 4
    retryable = True


class ProtocolMismatch(SiteError):
    """A site answered with something this version does not understand."""

    code = "protocol-mismatch"


class RemoteError(SiteError):
    """A site answered that something went wrong on its side."""

    code = "remote"


class ExecutorError(RenkeiError):
    """An engine under a site could not do its part."""

    code = "executor"


class SubmitRejected(ExecutorError):
    """The engine refused a job."""

    code = "submit-rejected"


class ReplyUnreadable(ExecutorError):
    """The engine answered with something that could not be parsed."""

    code = "reply-unreadable"


class InstrumentFault(ExecutorError):
    """An instrument reported a fault."""

    code = "instrument-fault"
    retryable = True


class PlanningError(RenkeiError):
    """A planner could not propose a point."""

    code = "planning"


class LedgerError(RenkeiError):
    """Facts cannot be kept or do not add up."""

    code = "ledger"


class Conflict(LedgerError):
    """The same identity with another content, or a second writer."""

    code = "conflict"


class IntegrityBroken(LedgerError):
    """A ledger was altered: a record is missing, changed or out of place."""

    code = "integrity-broken"


class Infeasible(Exception):
    """Raised by a procedure when the point cannot work (no convergence, no crystal).

    The run ends as `infeasible`: its use is charged and the planner learns to steer away.
    """


def did_you_mean(word: str, known: Mapping[str, object] | Iterable[str]) -> str:
    """Return " Did you mean 'x'?" when a known word is close to `word`, else ""."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
