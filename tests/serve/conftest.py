"""Models of the small world behind HTTP: as an application in this process, and as a program of its own."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from manyeyes import ManyEyesClassifier
from manyeyes.serve.answers import about
from manyeyes.serve.app import make_app
from manyeyes.serve.limits import Limits
from manyeyes.serve.looking import Looking


def fitted(world, **options):
    return ManyEyesClassifier(zoo=world.fast_zoo, **options).fit(world.paths, world.labels)


@pytest.fixture(scope="session")
def bundle(made_world, tmp_path_factory) -> Path:
    """A mixture of the small world. Not to be written to."""
    folder = tmp_path_factory.mktemp("served") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        fitted(made_world, fusion="mixture", gate="embedding").save(folder)
    return folder


@pytest.fixture
def model(world, bundle):
    return ManyEyesClassifier.load(bundle)


@pytest.fixture
def photo(world) -> bytes:
    return Path(world.paths[0]).read_bytes()


def app_of(model, key=None, look=None, **limits):
    limits = Limits(**limits)
    return make_app(look or Looking(model, limits.photo_pixels), about(model, limits), limits, key)


def client_of(app, **options) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver", **options)


def form(*photos: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("photos", (f"{number}.png", photo)) for number, photo in enumerate(photos)]


def png(*size: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size).save(made, "PNG")
    return made.getvalue()


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    url: str

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit status, and what it wrote since it began to serve."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


@contextmanager
def serving(bundle: Path, *words: object, **environment: str) -> Iterator[Server]:
    """``manyeyes serve`` as a program of its own, from when it takes requests."""
    command = [sys.executable, "-m", "manyeyes.cli.main", "serve", bundle, "--port", 0, *words]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        lines = iter(process.stderr.readline, "")
        said = next(line for line in lines if line.startswith("serving "))
        server = Server(process, said.split(" at ")[1].split()[0])
        assert httpx.get(f"{server.url}/healthz", timeout=30).json() == {"status": "ok"}
        yield server
    finally:
        process.kill()
        process.communicate()
