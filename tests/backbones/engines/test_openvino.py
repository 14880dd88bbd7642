"""OpenVINO: its graph is converted once and kept whole, and its telemetry neither writes nor speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import openvino_graph
from manyeyes.backbones.engines.openvino_engine import has_bf16
from manyeyes.backbones.nets import SECOND_ORDER
from manyeyes.backbones.weights import ensure_weights
from manyeyes.home import cache_home

BOTH = (FINAL, SECOND_ORDER)


def graphs(card: Card) -> list[Path]:
    return sorted(ensure_weights(card).glob("openvino-*"))


def test_it_is_converted_once_for_both_precisions(card, photos, truth, monkeypatch) -> None:
    Backbone.load(card, taps=BOTH, engine="openvino").embed(photos)
    assert len(graphs(card)) == 1
    monkeypatch.setattr(openvino_graph, "_convert", lambda job: pytest.fail("converted again"))
    for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
        seen = Backbone.load(card, taps=BOTH, precision=precision, engine="openvino").embed(photos)
        np.testing.assert_allclose(seen.blocks[FINAL], truth.blocks[FINAL], rtol=0.2, atol=0.05)
    with pytest.raises(pytest.fail.Exception, match="converted again"):
        Backbone.load(card, taps=(FINAL,), engine="openvino").embed(photos)


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "graph.json"])
@pytest.mark.parametrize("share", [0.5, 0, None], ids=["cut", "empty", "gone"])
def test_a_damaged_graph_is_converted_anew(card, photos, truth, name, share) -> None:
    Backbone.load(card, taps=BOTH, engine="openvino").embed(photos)
    (folder,) = graphs(card)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    if share is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(whole[name][: int(share * len(whole[name]))])
    seen = Backbone.load(card, taps=BOTH, engine="openvino").embed(photos)
    np.testing.assert_allclose(seen.blocks[FINAL], truth.blocks[FINAL], rtol=1e-3, atol=1e-3)
    assert {path.name for path in folder.iterdir()} == set(whole)
    assert [path for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_other_weights_never_meet_an_older_graph(card, tiny_model, photos) -> None:
    """A local file that changes is prepared anew, in a folder without the graph of what it was."""
    first = Backbone.load(card, engine="openvino").embed(photos)
    state = {name: tensor * 1.1 if tensor.ndim == 4 else tensor for name, tensor in tiny_model.state_dict().items()}
    save_file(state, card.where)
    second = Backbone.load(card, engine="openvino").embed(photos)
    expected = Backbone.load(card, engine="torch").embed(photos)
    np.testing.assert_allclose(second.blocks[FINAL], expected.blocks[FINAL], rtol=1e-3, atol=1e-3)
    assert not np.allclose(second.blocks[FINAL], first.blocks[FINAL], rtol=1e-3, atol=1e-3)


def test_a_graph_of_an_older_converter_makes_room(card, photos, monkeypatch) -> None:
    Backbone.load(card, engine="openvino").embed(photos)
    (older,) = graphs(card)
    monkeypatch.setattr(openvino_graph, "VERSION", openvino_graph.VERSION + 1)
    for taps in ((FINAL,), BOTH):
        Backbone.load(card, taps=taps, engine="openvino").embed(photos)
    assert len(graphs(card)) == 2
    assert older not in graphs(card)


FIRST_PASSES = """
import json, sys, threading
sys.setswitchinterval(1e-6)
import numpy as np
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
backbone = Backbone.load(Card.from_dict(json.loads(sys.argv[1])), engine="openvino")
_ = backbone.encoder
together = threading.Barrier(8)
def look():
    together.wait()
    backbone.embed(np.zeros((1, 64, 64, 3), np.uint8))
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_passes_of_a_process_do_not_wait_for_each_other(card: Card) -> None:
    """Two of three of these processes hung before the first pass was made alone."""
    ensure_weights(card)
    environment = os.environ | {"MANYEYES_HOME": str(cache_home())}
    for _ in range(2):
        command = [sys.executable, "-c", FIRST_PASSES, json.dumps(card.to_dict())]
        subprocess.run(command, env=environment, check=True, timeout=60)


SCRIPT = """
import os, socket, sys, threading
connections = []
def connect(self, address, *rest):
    connections.append(address)
    raise OSError("no connection in this test")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, connect)
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
import json, numpy as np
card = Card.from_dict(json.loads(sys.argv[1]))
seen = Backbone.load(card, engine="openvino").embed(np.zeros((1, 64, 64, 3), np.uint8))
assert seen.blocks["final"].shape[0] == 1
assert sys.modules["openvino_telemetry"] is None, "the telemetry was imported"
assert not connections, connections
print("seen")
"""


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """The telemetry keeps still by itself where it believes that continuous integration runs it."""
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_ci")
def test_its_telemetry_writes_nothing_and_connects_to_nothing(card: Card, tmp_path: Path) -> None:
    ensure_weights(card)
    home = tmp_path / "user"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "MANYEYES_HOME": str(cache_home())}
    arguments = [sys.executable, "-c", SCRIPT, json.dumps(card.to_dict())]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["seen"], done.stderr
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("no_ci")
def test_that_test_would_see_a_telemetry_that_is_let_in(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path)}
    # It may write, which is what is looked for; it may not speak.
    mute = "import socket; socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = None"
    subprocess.run([sys.executable, "-c", f"{mute}; import openvino"], env=environment, check=True, timeout=120)
    assert (tmp_path / "intel").is_dir()
