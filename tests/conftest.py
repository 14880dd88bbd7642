"""No test reaches the network or the user's cache, save those marked ``index``, which are about just that."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants as hub_constants

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class NetworkDeniedError(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def own_home(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every cache that manyeyes and its libraries use is an empty folder of the test's own."""
    if request.node.get_closest_marker("index"):
        return
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MANYEYES_HOME", str(home / "manyeyes"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    # huggingface_hub read its environment when it was imported.
    monkeypatch.setattr(hub_constants, "HF_HOME", str(home / "hf"))
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(home / "hf" / "hub"))


@pytest.fixture(autouse=True)
def network_denied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("index"):
        return
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, _only_here(getattr(socket.socket, name)))
    monkeypatch.setattr(socket, "getaddrinfo", _only_local_names(socket.getaddrinfo))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    for name, value in {
        "MANYEYES_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        # pip and npm are other processes: they get no index to ask, whatever the user's own settings say.
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_fetch_retries": "0",
    }.items():
        monkeypatch.setenv(name, value)


def _only_here(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(sock: socket.socket, *args: Any) -> Any:
        address = args[-1]
        if sock.family != getattr(socket, "AF_UNIX", None) and address[0] not in LOOPBACK:
            raise NetworkDeniedError(f"the network is denied in tests: {address}")
        return call(sock, *args)

    return guarded


def _only_local_names(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **options: Any) -> Any:
        if host not in (*LOOPBACK, None, ""):
            raise NetworkDeniedError(f"the network is denied in tests: {host}")
        return call(host, *args, **options)

    return guarded


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, network_denied: None) -> None:
    """manyeyes believes that it may use the network; the test still cannot."""
    monkeypatch.delenv("MANYEYES_OFFLINE")


@pytest.fixture
def hub_cache(own_home: None) -> Path:
    """The folder that huggingface_hub looks in before it looks on the hub."""
    return Path(hub_constants.HF_HUB_CACHE)
