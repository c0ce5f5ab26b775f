"""Serving a site to its partners: one process that also answers the commands of the site's own people."""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from renkei.api import Context, listening, opened_app, serve_app
from renkei.clock import Clock
from renkei.errors import ConfigError
from renkei.home._answers import answer_at
from renkei.home._home import ServedSite
from renkei.home._mailbox import Mailbox
from renkei.site import open_site
from renkei.trust.tokens import Tokens


async def serve_site(path: Path, clock: Clock, ready: Callable[[str], None]) -> None:
    """Serve a site until SIGTERM or SIGINT comes; what runs in a batch system goes on.

    Args:
        path: The site's file.
        clock: Time, blocking calls.
        ready: Told the URL once requests are accepted.

    Raises:
        ConfigError: The file has mistakes or does not say enough to serve the site.
        RenkeiError: The site cannot be opened, is open in another process, or its address cannot be had.
    """
    place = ServedSite(path)
    file, table = place.file, place.file.serve
    if table is None:
        raise ConfigError(str(path), ["serve: missing, expected a table [serve] that says where the site listens"])
    agreement = place.agreement()
    with place.locked(), listening(table) as listener:
        async with open_site(file, agreement, clock).opened() as site, anyio.create_task_group() as tasks:
            tokens = Tokens(file.tokens, file.issuers, file.accounts, file.site.institution, clock)

            async def answer(verb: str, arguments: Mapping[str, str]) -> str:
                return await answer_at(site, verb, arguments)

            tasks.start_soon(Mailbox(place, clock).serve, answer)
            async with opened_app(Context(site, file, tokens, clock)) as app:
                await serve_app(app, table, listener, ready)
            tasks.cancel_scope.cancel()
