"""Weights whose fetching is killed, whose disk is full or read-only, and whose files are damaged in any place."""

import dataclasses
import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from child import Child, stay_before_change
from own_mounts import make_read_only, mount_small_disk, needs_mounts
from safetensors.torch import load_file, save_file

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import SECOND_ORDER
from manyeyes.backbones.nets.timm_net import TimmNet
from manyeyes.backbones.second_order import tap
from manyeyes.backbones.weights import RECORD, ensure_weights, is_here, weights_folder
from manyeyes.errors import ChecksumError, FetchError, ManyEyesError

BOTH = (FINAL, SECOND_ORDER)
PHOTOS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "PHOTOS", 5)


@pytest.fixture
def card(tiny_card: Card) -> Card:
    return dataclasses.replace(tiny_card, preprocessing=dataclasses.replace(tiny_card.preprocessing, size=64))


def look(card: Card) -> dict[str, np.ndarray]:
    blocks: dict[str, np.ndarray] = Backbone.load(card, taps=BOTH).embed(PHOTOS).blocks
    return blocks


@pytest.fixture
def truth(card: Card) -> dict[str, np.ndarray]:
    blocks = look(card)
    shutil.rmtree(weights_folder(card))
    return blocks


def check_truth(card: Card, truth: dict[str, np.ndarray]) -> None:
    for name, block in look(card).items():
        np.testing.assert_array_equal(block, truth[name])


def keep_until_step(home: Path, card: Card, step: int, answer: Connection) -> None:
    """Fetch, convert, and learn what to read."""
    os.environ["MANYEYES_HOME"] = str(home)
    tap.PHOTOS = 5
    stay_before_change(step, answer)
    _ = Backbone.load(card, taps=BOTH).encoder
    answer.send("done")


@pytest.fixture
def home() -> Path:
    return Path(os.environ["MANYEYES_HOME"])


def test_killed_at_any_step_the_weights_are_whole_or_not_there(card, truth, home):
    ends, said, step = [], "here", 0
    while said == "here":
        step += 1
        child = Child(keep_until_step, home, card, step)
        said = child.pipe.recv()
        child.process.kill()
        child.end()
        here, learnt = is_here(card), list(weights_folder(card).glob("second-order-*"))
        assert here == weights_folder(card).exists()
        ends.append((here, bool(learnt)))
        check_truth(card, truth)
        shutil.rmtree(home)
    assert ends == sorted(ends)
    assert len(set(ends)) == 3
    assert step > 10


def damaged(data: bytes) -> list[bytes]:
    """Cut off and flipped in some thirty places."""
    places = range(0, len(data), max(len(data) // 15, 1))
    flipped = [data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :] for place in places]
    return [data[:place] for place in places] + flipped


def test_a_damaged_projection_is_learnt_anew(card, truth):
    check_truth(card, truth)
    (kept,) = weights_folder(card).glob("second-order-*")
    whole = kept.read_bytes()
    for data in damaged(whole):
        kept.write_bytes(data)
        check_truth(card, truth)
        assert kept.read_bytes() == whole


def test_the_projection_of_another_layer_is_learnt_anew(card, truth):
    check_truth(card, truth)
    (kept,) = weights_folder(card).glob("second-order-*")
    save_file(load_file(kept), kept, metadata={"layer": "model.layer2"})
    check_truth(card, truth)


def test_a_damaged_record_is_named_and_never_misleads(card, truth):
    check_truth(card, truth)
    record = weights_folder(card) / RECORD
    whole = record.read_bytes()
    for data in damaged(whole):
        record.write_bytes(data)
        try:
            check_truth(card, truth)
        except ManyEyesError as error:
            assert "\n" not in str(error)
            assert str(weights_folder(card)) in str(error)
        if not (weights_folder(card) / RECORD).is_file():
            ensure_weights(card)
    record.write_bytes(b"")
    with pytest.raises(
        ChecksumError, match=rf"{RECORD} was damaged: delete {record.parent}, and the weights are fetch"
    ):
        ensure_weights(card)


def test_weights_that_change_while_they_are_loaded_are_refused(card, monkeypatch):
    older = Backbone.load(card)
    load = TimmNet.load

    def meddle(self: TimmNet, card: Card, folder: Path, *rest: object) -> object:
        weights = folder / "model.safetensors"
        save_file({name: 2 * tensor for name, tensor in load_file(weights).items()}, weights)
        return load(self, card, folder, *rest)

    monkeypatch.setattr(TimmNet, "load", meddle)
    with pytest.raises(ChecksumError, match="the weights of tiny were damaged"):
        _ = older.encoder


def test_a_file_that_changes_while_it_is_converted_is_looked_at_again(card, truth, tiny_file, monkeypatch):
    newer = {name: 2 * tensor for name, tensor in load_file(tiny_file).items()}
    convert = TimmNet.convert

    def save_meanwhile(self: TimmNet, fetched: Path, card: Card) -> object:
        tensors = convert(self, fetched, card)
        save_file(newer, tiny_file)
        return tensors

    with monkeypatch.context() as patch:
        patch.setattr(TimmNet, "convert", save_meanwhile)
        check_truth(card, truth)
    kept = load_file(ensure_weights(card) / "model.safetensors")
    assert all((kept[f"model.{name}"] == tensor).all() for name, tensor in newer.items())


def keep_on_a_small_disk(home: Path, card: Card, answer: Connection) -> None:
    """Answers with the errors on disks that are full sooner or later, and with what lies on them in the end."""
    os.environ["MANYEYES_HOME"] = str(home)
    tap.PHOTOS = 5
    home.mkdir(exist_ok=True)
    size = Path(card.where).stat().st_size
    mount_small_disk(home, 3 * size)
    whole = 0
    for fifths in range(15):
        filling = home / "filling"
        filling.write_bytes(b"")
        filling.write_bytes(bytes(max(shutil.disk_usage(home).free - fifths * size // 5, 0)))
        try:
            answer.send(look(card))
            whole += 1
        except ManyEyesError as error:
            answer.send(str(error))
            assert not list((home / "weights").glob("*/*.safetensors"))
            assert not list((home / "weights").glob(".fetching-*"))
        shutil.rmtree(home / "weights", ignore_errors=True)
    answer.send(whole)


@needs_mounts
def test_on_a_full_disk_there_are_no_weights_or_whole_ones(card, truth, home):
    child = Child(keep_on_a_small_disk, home, card)
    errors = 0
    while not isinstance(said := child.pipe.recv(), int):
        if isinstance(said, str):
            assert said.startswith(f"the weights of tiny cannot be kept in {weights_folder(card)}: ")
            assert "No space left on device" in said
            errors += 1
        else:
            for name, block in said.items():
                np.testing.assert_array_equal(block, truth[name])
    assert child.end() == 0
    assert errors > 2 and said > 2


def load_read_only(home: Path, card: Card, answer: Connection) -> None:
    os.environ["MANYEYES_HOME"] = str(home)
    tap.PHOTOS = 5
    make_read_only(home)
    answer.send(look(card))
    try:
        ensure_weights(dataclasses.replace(card, name="other"))
        answer.send("no error")
    except FetchError as error:
        answer.send(str(error))


@needs_mounts
@pytest.mark.parametrize("is_learnt", [True, False], ids=["learnt", "still to learn"])
def test_a_read_only_cache_gives_its_weights_and_takes_no_others(card, truth, home, is_learnt):
    ensure_weights(card)
    if is_learnt:
        check_truth(card, truth)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    child = Child(load_read_only, home, card)
    for name, block in child.pipe.recv().items():
        np.testing.assert_array_equal(block, truth[name])
    message = child.pipe.recv()
    assert child.end() == 0
    other = weights_folder(dataclasses.replace(card, name="other"))
    assert message.startswith(f"the weights of other cannot be kept in {other}: Read-only file system")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
