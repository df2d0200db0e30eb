"""Ports before anybody serves on them: whether they are free, and how to keep them for processes to come."""

import socket


def listen_alone(host: str, port: int) -> socket.socket:
    """Listen where nobody else does; port 0 draws one. IPv6 literals may stand in brackets.

    Raises:
        OSError: the address is taken or is none of this machine's.
    """
    family, kind, _, _, place = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def hold(host: str, port: int) -> socket.socket:
    """Keep an address for as long as the socket is open: only processes of this user that ask to share get it.

    It does not listen, so no connection goes to it. That this was nobody else's address is certain, even when two
    processes do this at once: each listens for a moment alone, and from then on forbids what would let others in.

    Raises:
        OSError: as `listen_alone`.
    """
    if port == 0:
        with listen_alone(host, 0) as drawn:
            port = drawn.getsockname()[1]
    holder = listen_alone(host, port)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.shutdown(socket.SHUT_RDWR)  # on Linux it stops listening and stays bound
    return holder
