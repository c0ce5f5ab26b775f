"""A site.toml with every table of a site that is served, and a change for each of its keys."""

_ASKED = {
    "nodes": ("2", "3"),
    "processes": ("8", "9"),
    "cores": ("4", "5"),
    "gpus": ("1", "2"),
    "memory": ('"8 GB"', '"9 GB"'),
    "exclusive": ("true", "false"),
    "queue": ('"q"', '"other"'),
    "account": ('"a"', '"b"'),
    "reservation": ('"r"', '"s"'),
}


def _resources(table: str, **changes: str) -> str:
    lines = (f"{key} = {changes.get(key, value)}" for key, (value, _) in _ASKED.items())
    return "\n".join([f"[{table}.resources]", *lines])


SERVED = f"""
[site]
name = "us-fusion-lab"
institution = "us-institute"
key = "keys/us-institute.key"
agreement = "agreement.toml"

[executor]
kind = "iri"
queue = "regular"
account = "m1234"
modules = ["python"]
before = ["cd /tmp"]
after = ["sync"]
options = ["--qos=normal"]
python = "/opt/python"
poll = "2 s"
url = "https://iri.example.org"
resource = "compute"
token = "iri.token"

[serve]
host = "localhost"
port = 8441
certificate = "site.pem"
certificate_key = "site.pem.key"
url = "https://renkei.example.org"
body = "2 MB"

[[procedures]]
use = "mylab"
{_resources("procedures")}

[[commands]]
name = "lab.run"
version = "1"
command = ["run"]
outputs.y = {{ type = "real" }}
{_resources("commands")}

[[tokens]]
sha256 = "{"0" * 64}"
user = "alice"
team = "fusion-energy"
institution = "us-lab"

[[issuers]]
issuer = "https://id.example.org"
audience = "renkei"
jwks_url = "https://id.example.org/keys"
algorithms = ["ES256"]

[[issuers]]
issuer = "https://id2.example.org"
audience = "other"

[[accounts]]
issuer = "https://id.example.org"
subject = "s"
project = "genesis"
user = "bob"
team = "quantum-team"
institution = "jp-lab"

[facility]
name = "Facility"
short_name = "FAC"
description = "A facility."
organization = "Org"
support = "https://help.example.org"
country = "US"
locality = "Oak Ridge"
latitude = 35.9
longitude = -84.3

[[resources]]
id = "scratch"
name = "Scratch"
type = "storage"
group = "machine"
description = "Files."
root = "scratch"
readonly = true

[jobs]
unit = "core-hour"
per_node_hour = 2.5
time_limit = "2 h"
queues = ["debug"]
"""


def _asked(table: str) -> dict[str, tuple[str, str]]:
    """Return a change for every key of the resources that runs of a table ask for."""
    return {
        f"{table}.resources.{key}": (_resources(table), _resources(table, **{key: other}))
        for key, (_, other) in _ASKED.items()
    }


SERVED_CHANGES = {
    "executor.queue": ('queue = "regular"', 'queue = "debug"'),
    "executor.account": ("m1234", "m4321"),
    "executor.modules": ('["python"]', '["gcc"]'),
    "executor.before": ("cd /tmp", "cd /var"),
    "executor.after": ('["sync"]', "[]"),
    "executor.options": ("--qos=normal", "--qos=low"),
    "executor.python": ("/opt/python", "/usr/bin/python3"),
    "executor.poll": ('poll = "2 s"', 'poll = "3 s"'),
    "executor.url": ("https://iri.example.org", "https://other.example.org"),
    "executor.resource": ('resource = "compute"', 'resource = "gpu"'),
    "executor.token": ("iri.token", "other.token"),
    "serve.host": ('"localhost"', '"0.0.0.0"'),
    "serve.port": ("8441", "8442"),
    "serve.certificate": ('certificate = "site.pem"', 'certificate = "other.pem"'),
    "serve.certificate_key": ("site.pem.key", "other.key"),
    "serve.url": ("https://renkei.example.org", "https://other.example.org"),
    "serve.body": ("2 MB", "3 MB"),
    **_asked("procedures"),
    **_asked("commands"),
    "tokens.sha256": ("0" * 64, "1" * 64),
    "tokens.user": ('"alice"', '"carol"'),
    "tokens.team": ("fusion-energy", "other"),
    "tokens.institution": ('"us-lab"', '"other"'),
    "issuers.issuer": ("https://id2.example.org", "https://id3.example.org"),
    "issuers.audience": ('"other"', '"another"'),
    "issuers.jwks_url": ("https://id.example.org/keys", "https://id.example.org/jwks"),
    "issuers.algorithms": ('["ES256"]', '["RS256"]'),
    "accounts.issuer": (
        'issuer = "https://id.example.org"\nsubject',
        'issuer = "https://id2.example.org"\nsubject',
    ),
    "accounts.subject": ('subject = "s"', 'subject = "t"'),
    "accounts.project": ('"genesis"', '"exodus"'),
    "accounts.user": ('"bob"', '"dave"'),
    "accounts.team": ("quantum-team", "other"),
    "accounts.institution": ('"jp-lab"', '"other"'),
    "facility.name": ('name = "Facility"', 'name = "Other"'),
    "facility.short_name": ('"FAC"', '"OTH"'),
    "facility.description": ("A facility.", "Another."),
    "facility.organization": ('"Org"', '"Other"'),
    "facility.support": ("https://help.example.org", "https://other.example.org"),
    "facility.country": ('country = "US"', 'country = "JP"'),
    "facility.locality": ("Oak Ridge", "Kobe"),
    "facility.latitude": ("35.9", "34.7"),
    "facility.longitude": ("-84.3", "135.2"),
    "resources.id": ('id = "scratch"', 'id = "home"'),
    "resources.name": ('name = "Scratch"', 'name = "Home"'),
    "resources.type": ('type = "storage"', 'type = "service"'),
    "resources.group": ('group = "machine"', 'group = "other"'),
    "resources.description": ("Files.", "More files."),
    "resources.root": ('root = "scratch"', 'root = "home"'),
    "resources.readonly": ("readonly = true", "readonly = false"),
    "jobs.unit": ('unit = "core-hour"', 'unit = "gpu-hour"'),
    "jobs.per_node_hour": ("2.5", "3.5"),
    "jobs.time_limit": ('time_limit = "2 h"', 'time_limit = "3 h"'),
    "jobs.queues": ('["debug"]', '["debug", "long"]'),
}
"""For every key of these tables, what to replace in `SERVED` by what."""
