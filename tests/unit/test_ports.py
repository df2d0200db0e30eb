"""Ports held for processes to come."""

import socket
from collections.abc import Callable

import pytest

from server.ports import hold, listen_alone

LOCALHOST = "127.0.0.1"
_IN_USE = "already in use"


def _listen_shared(port: int) -> socket.socket:
    return socket.create_server((LOCALHOST, port), reuse_port=True)


def _listen(port: int) -> socket.socket:
    return socket.create_server((LOCALHOST, port))


def test_a_held_port_answers_nobody_until_someone_listens() -> None:
    with hold(LOCALHOST, 0) as holder:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(holder.getsockname())

        with _listen_shared(holder.getsockname()[1]) as first, _listen_shared(holder.getsockname()[1]) as second:
            with socket.create_connection(first.getsockname()):
                pass
            assert second.getsockname() == holder.getsockname()


@pytest.mark.parametrize(
    "take", [_listen, lambda port: hold(LOCALHOST, port), lambda port: listen_alone(LOCALHOST, port)]
)
def test_a_held_port_is_refused_to_whoever_does_not_share(take: Callable[[int], socket.socket]) -> None:
    with hold(LOCALHOST, 0) as holder:
        with pytest.raises(OSError, match=_IN_USE):
            take(holder.getsockname()[1])
        with _listen_shared(holder.getsockname()[1]), pytest.raises(OSError, match=_IN_USE):
            take(holder.getsockname()[1])


@pytest.mark.parametrize("listen", [_listen, _listen_shared])
def test_a_port_that_somebody_listens_on_cannot_be_held(listen: Callable[[int], socket.socket]) -> None:
    with listen(0) as listener, pytest.raises(OSError, match=_IN_USE):
        hold(LOCALHOST, listener.getsockname()[1])


def test_a_port_is_free_again_when_its_holder_is_closed() -> None:
    with hold(LOCALHOST, 0) as holder:
        port = holder.getsockname()[1]

    with _listen(port), socket.create_connection((LOCALHOST, port)):
        pass
    with hold(LOCALHOST, port):  # whatever the closed connection has left behind
        pass
