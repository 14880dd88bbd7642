"""Models on the hub: what huggingface_hub reads, finds in its cache, and sends to a server on this machine."""

import json
import re
import shutil
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature

import numpy as np
import pytest
from huggingface_hub import ModelCard, ModelHubMixin

from manyeyes import ManyEyesClassifier
from manyeyes.errors import FetchError


@pytest.fixture
def fitted(world):
    return ManyEyesClassifier(zoo=world.fast_zoo).fit(world.paths, world.labels)


@pytest.mark.parametrize("name", ["save_pretrained", "from_pretrained", "push_to_hub"])
def test_methods_are_called_as_the_hubs_mixin_has_them(name) -> None:
    theirs, ours = (signature(getattr(one, name)).parameters for one in (ModelHubMixin, ManyEyesClassifier))
    assert list(ours)[:1] == list(theirs)[:1]
    unknown = set(ours) - set(theirs) - {"how", "options"}
    assert not unknown


def test_a_folder_is_written_and_read(fitted, world, tmp_path) -> None:
    assert fitted.save_pretrained(tmp_path / "model") is None
    again = ManyEyesClassifier.from_pretrained(tmp_path / "model", offline=True)
    np.testing.assert_array_equal(again.predict_proba(world.paths), fitted.predict_proba(world.paths))


def test_what_was_fetched_before_is_there_without_a_network(fitted, world, tmp_path, hub_cache) -> None:
    snapshot = hub_cache / "models--somebody--flowers" / "snapshots" / ("0" * 40)
    fitted.save(tmp_path / "model")
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(tmp_path / "model", snapshot)
    refs = hub_cache / "models--somebody--flowers" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    again = ManyEyesClassifier.from_pretrained("somebody/flowers")
    np.testing.assert_array_equal(again.predict_proba(world.paths), fitted.predict_proba(world.paths))


@pytest.mark.parametrize("name", ["somebody/unknown", "no//name", "no such folder"])
def test_what_is_nowhere_is_told(name) -> None:
    with pytest.raises(FetchError, match=f"{name} is no folder here, and cannot be had from the hub"):
        ManyEyesClassifier.from_pretrained(name)


def test_the_card_tells_the_hub_what_the_model_is(fitted) -> None:
    from manyeyes.model_card import model_card

    fitted.facts_["results"] = [
        {"method": "auto", "accuracy": 0.9, "macro_f1": 0.8, "log_loss": 0.1, "calibration_error": 0.01},
        {"method": "stacking", "accuracy": 0.7, "macro_f1": 0.6, "log_loss": 0.1, "calibration_error": 0.01},
    ]
    fitted.facts_["protocol"] = "Half to train."
    data = ModelCard(model_card(fitted)).data
    assert (data.library_name, data.pipeline_tag) == ("manyeyes", "image-classification")
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [("accuracy", 0.9), ("macro_f1", 0.8)]


@pytest.fixture
def hub(monkeypatch):
    """A server that takes what huggingface_hub's client pushes: what was sent to it, by path in the repository."""
    received: dict[str, bytes] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                return self._answer({"url": "http://127.0.0.1/somebody/flowers", "id": "somebody/flowers"})
            if "/preupload/" in self.path:
                files = json.loads(body)["files"]
                return self._answer(
                    {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
                )
            if "/commit/" in self.path:
                for line in body.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        received[entry["value"]["path"]] = b64decode(entry["value"]["content"])
                return self._answer(
                    {"commitUrl": "http://127.0.0.1/somebody/flowers/commit/1", "commitOid": "1" * 40, "success": True}
                )
            return self._answer({})

        def do_GET(self) -> None:
            self._answer({"sha": "0" * 40, "siblings": [], "id": "somebody/flowers"})

        def _answer(self, body: dict[str, object]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from huggingface_hub import constants

    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield received
    server.shutdown()
    server.server_close()


def test_a_bundle_is_pushed_as_it_is(fitted, hub, tmp_path, world) -> None:
    url = fitted.push_to_hub("somebody/flowers", token="hf_" + "x" * 20)
    assert re.search("/somebody/flowers/commit/", url)
    for path, content in hub.items():
        (tmp_path / path).write_bytes(content)
    assert set(hub) == {"README.md", "config.json", "model.safetensors"}
    again = ManyEyesClassifier.load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(world.paths), fitted.predict_proba(world.paths))
