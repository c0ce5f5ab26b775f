"""Answers that say no: RFC 9457 problem documents made of renkei's errors."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from renkei.errors import AgreementError, Conflict, LedgerError, RenkeiError, UsageError


class HttpError(RenkeiError):
    """An error that only HTTP has.

    Args:
        status: The status of the answer.
        code: Its stable name.
        message: One sentence that says what is wrong.
        hint: One sentence that says what to do next.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.name = status, code


_STATUS: dict[type[RenkeiError], int] = {AgreementError: 403, Conflict: 409, UsageError: 400, LedgerError: 503}
"""The status of each kind of error; the first that fits counts."""


def problem(request: Request, error: RenkeiError) -> Response:
    """Return an error as a problem document."""
    if isinstance(error, HttpError):
        status, code = error.status, error.name
    else:
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
        code = error.code
    body = {
        "type": f"urn:renkei:error:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": error.message,
        "instance": request.url.path,
        "code": code,
        "hint": error.hint,
        "retryable": error.retryable or status in (429, 503),
    }
    headers = {"WWW-Authenticate": "Renkei"} if status == 401 else {}
    if status in (408, 413):
        headers["Connection"] = "close"  # what is left of the body is not read
    return Response(msgspec.json.encode(body), status, headers, "application/problem+json")
