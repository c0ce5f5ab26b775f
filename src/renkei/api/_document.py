"""The OpenAPI document of the renkei protocol, and the page that shows it to people."""

import html
import json
from typing import Any

_RECORD = {"$ref": "#/components/schemas/Record"}
_RECORDS = {"type": "array", "items": {"oneOf": [_RECORD, {"type": "null"}]}}
_PASS: list[dict[str, list[str]]] = [{"pass": []}]
_HASHES = {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}


def _query(name: str, what: str, kind: str = "string", *, required: bool = True) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": kind} | ({"minimum": 0} if kind == "integer" else {})
    return {"name": name, "in": "query", "required": required, "description": what, "schema": schema}


def _in_path(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": what, "schema": {"type": "string"}}


def _body(schema: str, what: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"required": True, "description": what, "content": content}


def _operation(
    name: str,
    summary: str,
    answer: dict[str, Any] | None,
    *,
    media: str = "application/json",
    parameters: tuple[dict[str, Any], ...] = (),
    body: dict[str, Any] | None = None,
    is_open: bool = False,
) -> dict[str, Any]:
    """Return an operation; `answer` is the schema of what it gives, or None where it gives nothing."""
    good: dict[str, Any] = {"description": "Done."}
    if answer is not None:
        good["content"] = {media: {"schema": answer}}
    bad = {"description": "No, and why.", "content": {"application/problem+json": {"schema": _PROBLEM_REF}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {"204" if answer is None else "200": good, "default": bad},
        "security": [] if is_open else _PASS,
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = body
        operation["security"] = [] if body.get("description", "").startswith("A signed") else _PASS
    return operation


_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_RUN = _in_path("run", "The run's id, a UUIDv7.")


def _schemas() -> dict[str, Any]:
    text, number, whole = {"type": "string"}, {"type": "number"}, {"type": "integer"}
    value = {"type": ["string", "number", "integer", "boolean"]}
    request = {
        "run": text | {"format": "uuid", "description": "Minted by the campaign: the idempotency key, for ever."},
        "team": text | {"description": "Whose allocation pays."},
        "campaign": text,
        "trial": text,
        "procedure": text,
        "version": text | {"description": 'The procedure\'s version; "" means the one that is offered.'},
        "parameters": {"type": "object", "additionalProperties": value, "description": "In the procedure's units."},
        "purpose": text,
        "release": text,
    }
    batch = {
        "audience": text | {"description": "The site that it is for, and no other."},
        "institution": text | {"description": "Who signs."},
        "issued_at": number | {"description": "Seconds since 1970 UTC; a site takes what is at most 300 s old."},
    }
    return {
        "Envelope": {
            "type": "object",
            "description": "A signed payload. The signature is Ed25519 (64 bytes) and then ML-DSA-65 (3,309 bytes) over"
            " kind, signer and payload; both must verify.",
            "required": ["kind", "signer", "payload", "signature"],
            "additionalProperties": False,
            "properties": {
                "kind": text | {"description": "renkei/run-batch/1, renkei/cancel-batch/1 or renkei/pass/1."},
                "signer": text | {"description": "The institution."},
                "payload": text | {"contentEncoding": "base64", "description": "The JSON of a RunBatch, … or Pass."},
                "signature": text | {"contentEncoding": "base64"},
            },
        },
        "RunRequest": {"type": "object", "required": list(request)[:7], "properties": request},
        "RunBatch": {
            "type": "object",
            "required": [*batch, "requests"],
            "properties": {
                **batch,
                "requests": {"type": "array", "items": {"$ref": "#/components/schemas/RunRequest"}},
            },
        },
        "CancelBatch": {
            "type": "object",
            "required": [*batch, "runs"],
            "properties": {**batch, "runs": {"type": "array", "items": text}, "by": text},
        },
        "Pass": {"type": "object", "required": list(batch), "properties": batch},
        "Found": {
            "type": "object",
            "required": ["runs"],
            "properties": {"runs": {"type": "array", "items": text, "maxItems": 10_000}},
        },
        "Record": {
            "type": "object",
            "description": "A record of the site's ledger, byte for byte as it was hashed: keep the bytes.",
            "required": ["seq", "at", "kind", "body"],
            "properties": {
                "seq": whole | {"description": "Its number in the site's ledger."},
                "at": number | {"description": "Seconds since 1970 UTC."},
                "kind": text | {"description": "run.accepted, run.parked, run.refused or run.ended."},
                "body": {"type": "object"},
            },
        },
        "Offer": {
            "type": "object",
            "properties": {
                "spec": {"type": "object", "description": "Name, version, parameters and outputs, with units."},
                "charge_unit": text,
                "per_run": number,
                "per_hour": number,
                "time_limit_s": number,
                "slots": whole,
            },
        },
        "Description": {
            "type": "object",
            "properties": {
                "site": text,
                "institution": text,
                "key": text | {"description": "The public key that its checkpoints are signed with."},
                "offers": {"type": "array", "items": {"$ref": "#/components/schemas/Offer"}},
                "available": {"type": "object", "additionalProperties": number},
            },
        },
        "Dataset": {
            "type": "object",
            "properties": {"name": text, "digest": text | {"description": "SHA-256, hex."}, "size_bytes": whole},
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457.",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text,
                "title": text,
                "status": whole,
                "detail": text,
                "instance": text,
                "code": text,
                "hint": text,
                "retryable": {"type": "boolean"},
            },
        },
    }


def document(site: str, url: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the renkei protocol as one site serves it."""
    datasets = {"type": "array", "items": {"$ref": "#/components/schemas/Dataset"}}
    signed = _body("Envelope", "A signed batch.")
    size = {"type": "object", "properties": {"owner": {"type": "string"}, "size": {"type": "integer"}}}
    paths = {
        "/site": {
            "get": _operation(
                "describe",
                "What the site offers; with a pass and a team, what is left of the team's allocation.",
                {"$ref": "#/components/schemas/Description"},
                parameters=(_query("team", "The team.", required=False),),
                is_open=True,
            )
        },
        "/runs": {
            "post": _operation(
                "submitRuns", "Ask for runs: the site's record about each, in order, durable.", _RECORDS, body=signed
            )
        },
        "/runs/find": {
            "post": _operation(
                "findRuns",
                "The last record about each of some runs; null of one that the site never heard of.",
                _RECORDS,
                body=_body("Found", "The runs."),
            )
        },
        "/runs/{run}": {"get": _operation("getRun", "The last record about a run.", _RECORD, parameters=(_RUN,))},
        "/runs/{run}/files": {
            "get": _operation("listFiles", "The datasets that a run left behind.", datasets, parameters=(_RUN,))
        },
        "/runs/{run}/files/{name}": {
            "get": _operation(
                "getFile",
                "The content of a dataset.",
                {"type": "string", "format": "binary"},
                media="application/octet-stream",
                parameters=(_RUN, _in_path("name", "The dataset's name.")),
            )
        },
        "/cancellations": {"post": _operation("cancelRuns", "Ask that runs be cancelled.", None, body=signed)},
        "/events": {
            "get": _operation(
                "followRuns",
                "Records about a campaign's runs from a cursor on, as server-sent events; their id is the record's"
                " number. Who reconnects sends the last one as Last-Event-ID.",
                {"type": "string"},
                media="text/event-stream",
                parameters=(
                    _query("team", "The team."),
                    _query("campaign", "The campaign."),
                    _query(
                        "cursor", "The first record that is wanted; left out, from now on.", "integer", required=False
                    ),
                ),
            )
        },
        "/ledger": {
            "get": _operation("getLedger", "How many records the ledger has: the cursor of now.", size, is_open=True)
        },
        "/ledger/checkpoint": {
            "get": _operation(
                "getCheckpoint", "A signed note over the tree head.", {"type": "string"}, media="text/plain"
            )
        },
        "/ledger/inclusion": {
            "get": _operation(
                "proveInclusion",
                "The audit path of a record (RFC 9162).",
                _HASHES,
                parameters=(_query("seq", "The record.", "integer"), _query("size", "The tree.", "integer")),
            )
        },
        "/ledger/consistency": {
            "get": _operation(
                "proveConsistency",
                "The proof that one tree is a prefix of another.",
                _HASHES,
                parameters=(_query("old", "The older size.", "integer"), _query("new", "The newer one.", "integer")),
            )
        },
        "/ledger/leaves": {
            "get": _operation(
                "getLeaves",
                "The leaf hashes of the first records, 32 bytes each: with a checkpoint they prove each record.",
                {"type": "string", "format": "binary"},
                media="application/octet-stream",
                parameters=(_query("size", "How many records.", "integer"),),
            )
        },
    }
    scheme = {
        "type": "http",
        "scheme": "Renkei",
        "description": "Authorization: Renkei BASE64, the base64 of an Envelope in JSON that holds a Pass.",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"renkei protocol, site {site}",
            "version": "1",
            "description": f"What campaigns elsewhere ask of this site (renkei {version}).",
        },
        "servers": [{"url": f"{url}/renkei/v1"}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"pass": scheme}},
    }


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .2rem}code,pre{font:14px/1.4 ui-monospace,monospace}
h2 code{font-size:1rem}.verb{display:inline-block;min-width:3.2rem;font-weight:700;color:#0a7}
table{border-collapse:collapse;margin:.4rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
pre{background:color-mix(in srgb,currentColor 7%,transparent);padding:.8rem;overflow-x:auto;border-radius:6px}
p{margin:.2rem 0}"""


def page(described: dict[str, Any]) -> str:
    """Return the document as one HTML page that needs no other host."""
    info, parts = described["info"], list[str]()
    for path, verbs in described["paths"].items():
        for verb, operation in verbs.items():
            parts.append(f'<h2><span class="verb">{verb.upper()}</span> <code>{html.escape(path)}</code></h2>')
            needs = " Needs a pass." if operation["security"] else ""
            takes = ""
            if (body := operation.get("requestBody")) is not None:
                schema = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                takes = f" Takes: {html.escape(body['description'].rstrip('.'))} (<code>{schema}</code>)."
            parts.append(f"<p>{html.escape(operation['summary'])}{takes}{needs}</p>")
            rows = "".join(
                f"<tr><td><code>{p['name']}</code></td><td>{p['in']}{'' if p['required'] else ', optional'}</td>"
                f"<td>{html.escape(p['description'])}</td></tr>"
                for p in operation.get("parameters", ())
            )
            parts.append(f"<table>{rows}</table>" if rows else "")
    schemas = html.escape(json.dumps(described["components"]["schemas"], indent=1))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{html.escape(info['title'])}</h1><p>{html.escape(info['description'])} As a document:"
        f' <a href="openapi.json">openapi.json</a></p>{"".join(parts)}<h2>Schemas</h2><pre>{schemas}</pre></html>'
    )
