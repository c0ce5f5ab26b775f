"""The operations that are served are those of the official document, parameter for parameter."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML
from serving import client, served

from hand_clock import HandClock

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parent.parent / "data" / "iri" / "official_v2.yaml"
OURS = {"whoami", "getDocument"}
"""Operations that the official document lacks."""


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path)  # pyright: ignore[reportUnknownMemberType]
    return loaded


def documented() -> dict[str, tuple[str, str, bool, set[str], bool]]:
    """Return method, path, whether a token is needed, names in the query and whether there is a body, by operation."""
    paths: dict[str, dict[str, Any]] = load(DOCUMENT)["paths"]
    return {
        operation["operationId"]: (
            method.upper(),
            path,
            bool(operation.get("security")),
            {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"},
            "requestBody" in operation,
        )
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


async def test_every_operation_of_the_document_is_served_as_it_says(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _):
        found = {
            operation.name: (
                operation.method,
                operation.path,
                not operation.is_open,
                {item.encode_name for item in msgspec.structs.fields(operation.query)},
                operation.body is not None,
            )
            for operation in app.operations
            if operation.path.startswith("/api/v2") and operation.name not in OURS
        }
    assert found == documented()
    assert len(found) == 47


async def test_the_document_that_is_served_is_the_official_one_and_who_asks(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app, None) as http:
        shown = (await http.get("/api/v2/openapi.json")).json()
    official = load(DOCUMENT)
    assert set(shown["paths"]) - set(official["paths"]) == {"/api/v2/account/whoami"}
    assert {path: shown["paths"][path] for path in official["paths"]} == official["paths"]
    assert shown["components"]["schemas"].items() >= official["components"]["schemas"].items()
