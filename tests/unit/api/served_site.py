"""A site served on loopback inside the test's own event loop."""

import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import msgspec

from fakes import key_of
from renkei.api import Context, listening, opened_app
from renkei.api._server import Server, configured
from renkei.clock import Clock
from renkei.federation import PASS, Pass
from renkei.federation.http import HttpSite
from renkei.model.serving import ServeTable
from renkei.model.site_file import parse_site
from renkei.site import Site
from renkei.trust.envelope import seal
from renkei.trust.tokens import Tokens

FILE = """
[site]
name = "us-site"
institution = "us-lab"
key = "us-lab.key"
data = "data"
[serve]
port = 0
body = "100 kB"
"""


@dataclass
class Served:
    """A site and where it is reached."""

    site: Site
    context: Context
    url: str
    client: httpx.AsyncClient
    clock: Clock

    def handle(self, signer: str = "us-lab", url: str = "") -> HttpSite:
        """Return a handle to it in the name of an institution; it closes with the test."""
        key = self.site.agreement.institutions["us-lab"].key
        return HttpSite(self.site.name, url or self.url, key_of(signer), key, self.clock, self.client)

    def authorization(self, signer: str = "us-lab", **changes: object) -> dict[str, str]:
        """Return the header that shows a pass."""
        shown = Pass(self.site.name, signer, self.site.ledger.clock.now())
        envelope = seal(key_of(signer), PASS, msgspec.json.encode(msgspec.structs.replace(shown, **changes)))
        return {"Authorization": f"Renkei {base64.b64encode(msgspec.json.encode(envelope)).decode()}"}


@asynccontextmanager
async def served(
    site: Site, clock: Clock, folder: Path, text: str = FILE, verify: "ssl.SSLContext | bool" = True
) -> AsyncGenerator[Served]:
    """Serve an open site until the end of the block; its client trusts what `verify` says."""
    file = parse_site(text, folder=folder)
    table = file.serve or ServeTable()
    context = Context(site, file, Tokens((), (), (), "us-lab", clock), clock)
    with listening(table) as listener:
        async with opened_app(context) as app, anyio.create_task_group() as tasks:
            server = Server(configured(app, table))
            tasks.start_soon(server.serve, [listener])
            while not server.started:
                await anyio.sleep(0.001)
            scheme = "http" if table.certificate is None else "https"
            async with httpx.AsyncClient(timeout=10, verify=verify) as client:
                yield Served(site, context, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", client, clock)
            server.should_exit = server.force_exit = True
