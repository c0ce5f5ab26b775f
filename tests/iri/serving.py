"""A site behind the IRI API, without a network, for tests; run as a program, on loopback for clients of others."""

import hashlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from fakes import FakeExecutor, agreement, key_of, offered
from renkei.api._context import Context
from renkei.api.iri import IriApp
from renkei.clock import Clock, SystemClock
from renkei.executors import Executor
from renkei.executors.local import LocalExecutor
from renkei.model.quantity import Quantity
from renkei.model.rule import Rule
from renkei.model.site_file import SiteFile, parse_site
from renkei.policy import DEFAULT_POLICY, Policy, SitePolicies
from renkei.site import Site, job_offer
from renkei.trust.tokens import Tokens

TOKENS = {"alice-secret": ("alice", "fusion"), "bob-secret": ("bob", "fusion"), "kei-secret": ("kei", "quantum")}

FILE = """
[site]
name = "us-site"
institution = "us-lab"
key = "us.key"
data = "data"
[facility]
name = "Example Laboratory"
short_name = "EL"
organization = "Example Organisation"
support = "https://example.org/help"
country = "US"
locality = "Springfield"
latitude = 44.5
longitude = -123.0
[[resources]]
id = "cluster"
name = "Cluster"
type = "compute"
group = "main"
description = "A small cluster."
[[resources]]
id = "files"
name = "Files"
type = "storage"
group = "main"
description = "A shared folder."
root = "files"
[[allocations]]
team = "fusion"
quantity = "100 node-hour"
[[allocations]]
team = "fusion"
quantity = "50 run"
[jobs]
unit = "node-hour"
time_limit = "1 h"
queues = ["debug", "regular"]
"""


def site_file(folder: Path, text: str) -> SiteFile:
    tokens = "".join(
        f'[[tokens]]\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nuser = "{user}"\nteam = "{team}"\n'
        + ('institution = "jp-lab"\n' if team == "quantum" else "")
        for token, (user, team) in TOKENS.items()
    )
    return parse_site(text + tokens, folder=folder)


@asynccontextmanager
async def served(
    folder: Path,
    clock: Clock,
    executor: Executor | None = None,
    *,
    rules: tuple[Rule, ...] = (),
    text: str = FILE,
    more: str = "",
    policy: str = "",
) -> AsyncGenerator[tuple[IriApp, Site]]:
    """Open a site and its IRI API."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    file = site_file(folder, text + more)
    terms = agreement(*rules)
    offers = [offered()]
    if file.jobs is not None:
        offers.append(job_offer(file.jobs))
    policies = SitePolicies(DEFAULT_POLICY + policy, [offer.spec for offer in offers])
    amounts: list[tuple[str, Quantity]] = [(table.team, table.quantity) for table in file.allocations]
    site = Site(
        "us-site", key_of("us-lab"), terms, Policy(terms.rules, policies), offers, amounts,
        executor or FakeExecutor(), file.site.data, clock,
    )  # fmt: skip
    async with site.opened():
        tokens = Tokens(file.tokens, file.issuers, file.accounts, file.site.institution, clock)
        app = IriApp(Context(site, file, tokens, clock))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app.serve)
                yield app, site
                tasks.cancel_scope.cancel()
        finally:
            app.close()


def client(app: IriApp, token: str | None = "alice-secret", **headers: str) -> httpx.AsyncClient:
    """Return a client of the application, in the name of a user."""
    known = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://site.test", headers={**known, **headers}
    )


def job(**changes: Any) -> dict[str, Any]:
    """Return a JobSpec that the site takes."""
    return {
        "executable": "/bin/true",
        "attributes": {"duration": 60, "account": "fusion"},
        "resources": {"node_count": 1},
        **changes,
    }


async def main(folder: Path) -> None:
    """Serve on a free port of loopback until killed; prints the address."""
    import uvicorn

    clock = SystemClock()
    executor = LocalExecutor(2, folder / "logs", clock)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    async with served(folder, clock, executor) as (app, _):
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        (socket := config.bind_socket()).listen(128)
        print(f"ready http://127.0.0.1:{socket.getsockname()[1]}", flush=True)
        await server.serve([socket])


if __name__ == "__main__":
    import asyncio

    asyncio.run(main(Path(sys.argv[1])))
