"""A real provider over a real socket of this machine."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from token_issuer import Issuer, issuer_table

from hand_clock import HandClock
from renkei.errors import Denied
from renkei.model.serving import AccountTable
from renkei.trust.tokens import Tokens

pytestmark = pytest.mark.anyio


@contextmanager
def served(clock: HandClock) -> Generator[tuple[Issuer, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = {
                "/.well-known/openid-configuration": issuer.metadata,
                "/keys": {"keys": [signer.jwk for signer in issuer.signers.values()]},
            }.get(self.path)
            body = json.dumps(content).encode()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(clock, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield issuer, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_token_of_a_real_provider_is_taken(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nobody there: what is local goes through no proxy
    with served(clock) as (issuer, asked):
        account = AccountTable(issuer=issuer.url, subject="ada", team="fusion")
        table = issuer_table(issuer=issuer.url)
        tokens = Tokens((), (table,), (account,), "own-lab", clock)
        for algorithm in issuer.signers:
            assert (await tokens.identify(issuer.token(algorithm))).user == "ada"
        assert asked == ["/.well-known/openid-configuration", "/keys"]
    late = Tokens((), (table,), (account,), "own-lab", clock)
    with pytest.raises(Denied, match="did not answer"):
        await late.identify(issuer.token())
