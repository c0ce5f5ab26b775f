"""How a site is reached and by whom: the tables of `site.toml` that its HTTP faces need."""

import ipaddress
import re
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from renkei.errors import did_you_mean
from renkei.model.fields import AllocationUnit, Distinct, Duration, FilePath, Many, Name, Size, Text, Url, new
from renkei.model.files import Table, expected, scope_of

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise expected("a name or an address to listen at")
    return host


def _both(key: object, info: ValidationInfo) -> object:
    if "certificate" in info.data and (key is None) != (info.data["certificate"] is None):
        raise expected("certificate and certificate_key together, or neither")
    host = info.data.get("host")
    if key is None and isinstance(host, str) and not is_loopback(host):
        raise expected(f"a certificate: without TLS a site listens on loopback only, and {host} is not")
    return key


class ServeTable(Table):
    """[serve]: where the site listens."""

    host: Annotated[Text, AfterValidator(_host)] = Field(
        default="127.0.0.1", description="The name or address to listen at; without TLS on loopback only."
    )
    port: int = Field(default=8440, ge=0, le=65535, description="The port; 0 takes any that is free.")
    certificate: FilePath | None = Field(default=None, description="The TLS certificate with its chain, PEM.")
    certificate_key: Annotated[FilePath | None, AfterValidator(_both)] = Field(
        default=None, validate_default=True, description="The certificate's secret key, PEM."
    )
    url: Url | None = Field(
        default=None, description="What links in answers begin with, behind a proxy; left out, what was asked."
    )
    body_bytes: Size = Field(
        default=8_000_000, ge=10_000, description="The largest body of a request that is read, for example '8 MB'."
    )


def _sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise expected("the SHA-256 of the token, 64 hex digits: the token itself is kept nowhere")
    return value


class TokenTable(Table):
    """[[tokens]]: a user known by a static token."""

    sha256: Annotated[str, AfterValidator(_sha256), new("token")] = Field(
        description="The SHA-256 of the token, in hex."
    )
    user: Text = Field(description="Who it is.")
    team: Name = Field(description="The team whose allocation pays.")
    institution: Name | None = Field(default=None, description="The user's institution; left out, the site's own.")


def _encrypted(url: str | None) -> str | None:
    if url is not None and not url.startswith("https://") and not is_loopback(_host_of(url)):
        raise expected("an address that begins with https://, or one of this machine")
    return url


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _declared(issuer: str, info: ValidationInfo) -> str:
    """Check that an account's issuer is in the file, or it would never count; made in code, there is no file."""
    raw = scope_of(info).raw
    tables: object = raw.get("issuers", [])
    entries = cast("list[object]", tables) if isinstance(tables, list) else []
    issuers = [str(cast("dict[str, Any]", entry).get("issuer")) for entry in entries if isinstance(entry, dict)]
    if raw and issuer not in issuers:
        raise expected(f"an issuer that [[issuers]] has.{did_you_mean(issuer, issuers)}".removesuffix("."))
    return issuer


def _only_account(project: str | None, info: ValidationInfo) -> str | None:
    if not scope_of(info).is_new("account", (info.data.get("issuer"), info.data.get("subject"), project)):
        raise expected("another subject or project: there already is an account for these")
    return project


class IssuerTable(Table):
    """[[issuers]]: an OpenID provider whose tokens the site takes."""

    issuer: Annotated[Url, AfterValidator(_encrypted), new("issuer")] = Field(
        description="Exactly what the tokens have as iss; http:// on loopback only."
    )
    audience: Text = Field(description="Exactly what the tokens must have in aud.")
    jwks_url: Annotated[Url | None, AfterValidator(_encrypted)] = Field(
        default=None, description="Where its keys are; left out, where its metadata says."
    )
    algorithms: Distinct[Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"]] = Field(
        default=("RS256", "ES256", "EdDSA"), min_length=1, description="The signature algorithms that are taken."
    )


class AccountTable(Table):
    """[[accounts]]: who a token of an issuer stands for here.

    A token that fits none is refused. Of several that fit, one with its subject counts before one with its project
    alone, and both before one with neither.
    """

    issuer: Annotated[Url, AfterValidator(_declared)] = Field(description="The issuer, as in [[issuers]].")
    subject: Text | None = Field(default=None, description="The token's sub; left out, anybody of the project.")
    project: Annotated[Text | None, AfterValidator(_only_account)] = Field(
        default=None,
        validate_default=True,
        description="The AmSC Keycard's amsc_project_context; left out, a token with any or none.",
    )
    user: Text | None = Field(default=None, description="The local user; left out, the token's sub.")
    team: Name = Field(description="The team whose allocation pays.")
    institution: Name | None = Field(default=None, description="The user's institution; left out, the site's own.")


class FacilityTable(Table):
    """[facility]: the facility as the IRI API shows it."""

    name: Text = Field(description="Its name for people.")
    short_name: Text | None = Field(default=None, description="Its short name.")
    description: str = Field(default="", description="What it is, in a sentence or two.")
    organization: Text | None = Field(default=None, description="Who runs it.")
    support: Url | None = Field(default=None, description="Where users find help.")
    country: Text | None = Field(default=None, description="Its country's ISO code, for example JP.")
    locality: Text | None = Field(default=None, description="Its town.")
    latitude: float | None = Field(default=None, ge=-90, le=90, description="Degrees north.")
    longitude: float | None = Field(default=None, ge=-180, le=180, description="Degrees east.")


class ResourceTable(Table):
    """[[resources]]: a resource as the IRI API shows it."""

    id: Name = Field(description="Its id in the API.")
    name: Text = Field(description="Its name for people.")
    type: Literal["compute", "storage", "network", "service", "website", "system", "unknown"] = Field(
        description="What it is; jobs run on compute resources, files lie on storage resources."
    )
    group: Text | None = Field(default=None, description="The system that it is part of.")
    description: str = Field(default="", description="What it is, in a sentence.")
    root: FilePath | None = Field(
        default=None, description="Of a storage resource: the folder that users see of it, and nothing beside it."
    )
    readonly: bool = Field(default=False, description="Of a storage resource: whether users may only read.")


class JobsTable(Table):
    """[jobs]: jobs of any kind that known users submit through the IRI API; left out, there are none."""

    unit: AllocationUnit = Field(default="node-hour", description="What jobs are charged in.")
    per_node_hour: float = Field(default=1.0, ge=0, description="Units for every hour on every node.")
    time_limit_s: Duration = Field(default=86_400.0, description="The longest that a job may ask for.")
    queues: Many[Text] = Field(default=(), description="The queues that jobs may ask for; left out, any.")
