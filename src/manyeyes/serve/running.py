"""The server as a process: its socket, its signals, and an end that leaves nobody without an answer."""

import logging
import signal
import socket

import uvicorn
from fastapi import FastAPI

from manyeyes.errors import PlaceError

BACKLOG = 2048


def open_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address, on which nobody listens yet. Raises PlaceError when it cannot be had."""
    opened = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        if opened is not None:
            opened.close()
        why = getattr(error, "strerror", None) or error
        raise PlaceError(
            f"nobody can be served at {host}, port {port}: {why}; choose another --port or --host"
        ) from None
    return opened


def listen(opened: socket.socket) -> str:
    """Let those who come from now on wait to be served. Returns the address."""
    opened.listen(BACKLOG)
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, opened: socket.socket, patience: float) -> None:
    """Serve until Ctrl-C or SIGTERM; those who are asking by then are answered, for up to ``patience`` seconds."""
    config = uvicorn.Config(
        app,
        log_config=None,  # the command line has set up its own
        access_log=logging.getLogger("manyeyes").isEnabledFor(logging.INFO),
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(patience),
    )
    # uvicorn listens to the signals while it runs and sends itself once more what it got, for whoever listened before:
    # that would take the end that was asked for as one that went wrong.
    former = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        uvicorn.Server(config).run(sockets=[opened])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
