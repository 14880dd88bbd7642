"""No test reaches the network or the user's cache, save those marked ``index``, which are about just that.

Tests that want photos and backbones get those of :mod:`small_world`, made once.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Where tests run side by side, a process for each core, more threads in one would only be in another's way. Said before
# anything is imported that counts the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")

import pytest
import torch
from huggingface_hub import constants as hub_constants

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class NetworkDeniedError(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def same_start() -> None:
    """What a test draws from torch's own generator is the same in whatever order the tests run."""
    torch.manual_seed(0)


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


@dataclass(frozen=True)
class World:
    """Where the photos, the backbones and the cache of a test run lie."""

    folder: Path
    paths: list[str]
    labels: list[str]
    zoo: str

    @property
    def photos(self) -> Path:
        """A folder with 12 photos for each of 3 classes; ``held_out`` holds 3 others for each."""
        return self.folder / "photos"

    @property
    def held_out(self) -> Path:
        return self.folder / "held_out"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def fast_zoo(self) -> str:
        """Without the net that needs timm, which takes seconds to import."""
        return self.zoo.rpartition(",")[0]


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from small_world import COLOURS, write_encoder, write_local, write_photos

    folder = tmp_path_factory.mktemp("world")
    paths = write_photos(folder / "photos", list(COLOURS))
    write_photos(folder / "held_out", list(COLOURS), count=3, first=12)
    tint = write_encoder(folder / "tint.onnx", 1, size=24, dimension=6)
    edges = write_encoder(folder / "edges.onnx", 2, size=16, dimension=9)
    zoo = f"onnx:{tint},onnx:{edges},local:{write_local(folder / 'tiny')}"
    return World(folder, [str(path) for path in paths], [path.parent.name for path in paths], zoo)


@pytest.fixture
def world(made_world: World, own_home: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small world, with a cache that its tests share: every photo is looked at once."""
    monkeypatch.setenv("MANYEYES_HOME", str(made_world.home))
    return made_world


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's chromium, or Chrome, without a window. While it is open nobody else can run an event loop in this
    process: hence one for each module."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine: install Debian's, say")
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
