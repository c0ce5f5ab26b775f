"""Where a site listens: an address that can be had, and no answer that waits for another one."""

import socket

import pytest

from renkei.api import listening
from renkei.errors import UsageError
from renkei.model.serving import ServeTable


def test_answers_on_a_kept_connection_are_not_held_back() -> None:
    with listening(ServeTable(port=0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getpeername() == client.getsockname()


def test_an_address_that_is_taken_cannot_be_listened_at() -> None:
    with listening(ServeTable(port=0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be listened at"), listening(ServeTable(port=port)):
            pass
