"""Weights on this machine: whole or not at all, whatever happens while they are fetched."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.nets import FINAL, NETS, PLAIN, Encoder, Look, Pixels, Run
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.sources import SOURCES, sha256_of
from manyeyes.backbones.verify import reference_numbers
from manyeyes.backbones.weights import RECORD, ensure_weights, is_here, weights_folder, weights_sha256
from manyeyes.errors import CardError, ChecksumError, LicenceError, OfflineError

TOY = Card("toy", "toy:somewhere", "toy", 3, Preprocessing(size=8), net="toy", licence="MIT")


class ToySource:
    """Writes a line to the file that ``where`` names, each time that it is asked for weights."""

    def needs_network(self, where: str, inside: str) -> bool:
        return True

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        with Path(where).open("a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(0.2)
        fetched = folder / "fetched.bin"
        fetched.write_bytes(b"weights")
        return fetched


class ToyNet:
    """The mean colour of a photo. Stays in ``prepare``, half done, for as long as a file of that name lies about."""

    taps = (FINAL,)
    precisions = ("fp32",)

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None:
        (folder / "w.bin").write_bytes(fetched.read_bytes()[:3])
        while card.architecture == "slow" and Path(card.where).with_name("hold").exists():
            time.sleep(0.01)
        (folder / "w.bin").write_bytes(fetched.read_bytes())

    def load(self, card: Card, folder: Path, run: Run = PLAIN) -> Encoder:
        return MeanColour(card)


class MeanColour:
    batch = 1

    def __init__(self, card: Card) -> None:
        self._card = card

    def __call__(self, framed: Pixels) -> Look:
        return Look({FINAL: normalise(framed, self._card.preprocessing).mean(axis=(2, 3))}, None)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, online: None) -> Card:
    monkeypatch.setitem(SOURCES._own, "toy", f"{__name__}:ToySource")
    monkeypatch.setitem(NETS._own, "toy", f"{__name__}:ToyNet")
    return dataclasses.replace(TOY, source=f"toy:{tmp_path / 'log'}")


def times_fetched(card: Card) -> int:
    log = Path(card.where)
    return len(log.read_text().splitlines()) if log.exists() else 0


def start(card: Card) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=ensure_weights, args=(card,))
    process.start()
    return process


def test_weights_are_fetched_once_and_recorded(toy):
    assert not is_here(toy)
    folder = ensure_weights(toy)
    assert ensure_weights(toy) == folder == weights_folder(toy)
    assert is_here(toy)
    assert times_fetched(toy) == 1
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "w.bin"]
    record = json.loads((folder / RECORD).read_text())
    assert Card.from_dict(record["card"]) == toy
    assert record["weights_sha256"] == weights_sha256(toy) == sha256_of(folder / "w.bin")


def test_two_processes_fetch_once(toy):
    processes = [start(toy) for _ in range(4)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert times_fetched(toy) == 1
    assert [path.name for path in weights_folder(toy).parent.iterdir() if path.name[0] != "."] == [
        weights_folder(toy).name
    ]


def test_a_kill_leaves_nothing_half_done(toy):
    slow = dataclasses.replace(toy, architecture="slow")
    hold = Path(slow.where).with_name("hold")
    hold.touch()
    process = start(slow)
    deadline = time.monotonic() + 30
    while not list(weights_folder(slow).parent.glob(".fetching-*/prepared/*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert not weights_folder(slow).exists()
    assert not is_here(slow)
    hold.unlink()
    assert (ensure_weights(slow) / "w.bin").read_bytes() == b"weights"
    assert times_fetched(slow) == 2
    assert not list(weights_folder(slow).parent.glob(".fetching-*"))


def test_an_error_leaves_nothing_half_done(toy):
    wrong = dataclasses.replace(toy, dimension=4)
    with pytest.raises(Exception, match="has 3 numbers, its card says 4"):
        ensure_weights(wrong)
    assert [path.name[0] for path in weights_folder(wrong).parent.iterdir()] == ["."]
    assert not list(weights_folder(wrong).parent.glob(".fetching-*"))


def test_damaged_weights_are_refused(tiny_card):
    weights = ensure_weights(tiny_card) / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        weights.write_bytes(damaged)
        with pytest.raises(ChecksumError, match=rf"weights of tiny were damaged: delete {weights.parent}"):
            _ = Backbone.load(tiny_card).encoder
    weights.write_bytes(whole)
    assert Backbone.load(tiny_card).encoder


def test_missing_weights_are_refused(tiny_card):
    (ensure_weights(tiny_card) / "model.safetensors").unlink()
    with pytest.raises(ChecksumError, match="weights of tiny were damaged"):
        _ = Backbone.load(tiny_card).encoder


def test_stray_files_do_no_harm(tiny_card):
    for stray in (".DS_Store", "Thumbs.db"):
        (ensure_weights(tiny_card) / stray).touch()
    assert Backbone.load(tiny_card).encoder


def drop_from_record(folder: Path, *names: str) -> None:
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({name: value for name, value in record.items() if name not in names}))


def test_the_first_records_stay_valid(tiny_card, tiny_file):
    folder = ensure_weights(tiny_card)
    drop_from_record(folder, "conversion", "weights_file")
    (folder / ".DS_Store").touch()
    tiny_file.unlink()  # so that nothing can be fetched again
    assert Backbone.load(tiny_card).encoder


def test_weights_of_an_older_converter_are_fetched_anew(toy, monkeypatch):
    ensure_weights(toy)
    monkeypatch.setattr("manyeyes.backbones.weights.CONVERSION", 2)
    for _ in range(2):
        ensure_weights(toy)
        assert times_fetched(toy) == 2
    drop_from_record(weights_folder(toy), "conversion")
    ensure_weights(toy)
    assert times_fetched(toy) == 3


def with_reference(card: Card) -> Card:
    numbers = reference_numbers(card, NETS[card.net]().load(card, Path()))
    return dataclasses.replace(card, reference=tuple(float(number) for number in numbers))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"preprocessing": Preprocessing(size=8, mean=HALF, std=HALF)}, "is missed by", id="preprocessing"),
        pytest.param({"dimension": 4}, "has 3 numbers, its card says 4", id="dimension"),
        pytest.param({"reference": (0.5, 0.5, 0.5)}, "is missed by", id="reference"),
    ],
)
def test_a_wrong_card_is_refused_though_its_weights_are_here(toy, change, words):
    right = with_reference(toy)
    folder = ensure_weights(right)
    record = (folder / RECORD).read_text()
    wrong = dataclasses.replace(right, **change)
    assert weights_folder(wrong) == folder
    for _ in range(2):
        with pytest.raises(CardError, match=words):
            ensure_weights(wrong)
    assert (folder / RECORD).read_text() == record
    assert ensure_weights(right) == folder
    assert times_fetched(toy) == 1


def test_a_mended_card_is_verified_once_and_recorded(toy, monkeypatch):
    folder, sha256 = ensure_weights(toy), weights_sha256(toy)
    mended = with_reference(dataclasses.replace(toy, preprocessing=Preprocessing(size=8, mean=HALF, std=HALF)))
    verified = []
    monkeypatch.setattr("manyeyes.backbones.verify.check_reference", lambda card, encoder: verified.append(card))
    for _ in range(2):
        assert ensure_weights(mended) == folder
        assert verified == [mended]
    assert Card.from_dict(json.loads((folder / RECORD).read_text())["card"]) == mended
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "w.bin"]
    assert (weights_sha256(mended), times_fetched(toy)) == (sha256, 1)


def test_what_does_not_change_the_embedding_is_not_verified(toy, monkeypatch):
    folder = ensure_weights(toy)
    monkeypatch.delattr("manyeyes.backbones.verify.check_reference")
    assert ensure_weights(dataclasses.replace(toy, macs=1.0, licence="Apache-2.0", paper="a paper")) == folder


def test_a_changed_local_file_is_looked_at_again(tmp_path, toy):
    path = tmp_path / "w.bin"
    path.write_bytes(b"first")
    card = dataclasses.replace(toy, source=f"local:{path}")
    assert (ensure_weights(card) / "w.bin").read_bytes() == b"first"
    first = weights_sha256(card)
    path.write_bytes(b"second")
    assert (ensure_weights(card) / "w.bin").read_bytes() == b"second"
    assert weights_sha256(card) != first
    path.unlink()
    assert (ensure_weights(card) / "w.bin").read_bytes() == b"second"


def test_an_undeclared_licence_is_refused_until_accepted(toy):
    card = dataclasses.replace(toy, licence=None)
    with pytest.raises(LicenceError, match="publisher of toy declares no licence: add --accept-undeclared-licence"):
        ensure_weights(card)
    assert times_fetched(card) == 0
    ensure_weights(card, accept_undeclared_licence=True)
    with pytest.raises(LicenceError):
        ensure_weights(card)


def test_offline_names_the_card_and_the_command(toy, monkeypatch):
    monkeypatch.setenv("MANYEYES_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"weights of toy are not.*`manyeyes backbones pull toy` where.*bring /"):
        ensure_weights(toy)
    assert times_fetched(toy) == 0


def test_weights_that_are_here_need_no_network(toy, monkeypatch):
    ensure_weights(toy)
    monkeypatch.setenv("MANYEYES_OFFLINE", "1")
    blocks = Backbone.load(toy).embed(np.zeros((2, 8, 8, 3), np.uint8)).blocks
    assert blocks[FINAL].shape == (2, 3)
