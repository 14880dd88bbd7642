"""The second-order tap of a real if tiny network: learnt once, kept, and read by many threads at once."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import NETS, SECOND_ORDER
from manyeyes.backbones.nets.whole import Headed
from manyeyes.backbones.preprocess import frame, normalise
from manyeyes.backbones.second_order import CHANNELS, DIMENSION, tap
from manyeyes.backbones.second_order.generated import generated_photos
from manyeyes.backbones.second_order.layer import positions
from manyeyes.backbones.second_order.pooling import block_of_moments, learn_projection, moments
from manyeyes.backbones.weights import ensure_weights
from manyeyes.errors import CardError

BOTH = (FINAL, SECOND_ORDER)
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "PHOTOS", 5)
    monkeypatch.setattr(tap, "BATCH", 2)


@pytest.fixture
def card(tiny_card: Card) -> Card:
    return dataclasses.replace(tiny_card, preprocessing=dataclasses.replace(tiny_card.preprocessing, size=64))


def kept(card: Card) -> list[Path]:
    return sorted(ensure_weights(card).glob("second-order-*"))


def test_it_reads_the_layer_that_it_learnt_to_read(card: Card) -> None:
    backbone = Backbone.load(card, taps=BOTH)
    assert backbone.taps == BOTH
    assert backbone.dimension(SECOND_ORDER) == DIMENSION == 2080
    embedding = backbone.embed(PHOTOS)
    block = embedding.blocks[SECOND_ORDER]
    assert (block.shape, block.dtype) == ((6, DIMENSION), np.float32)

    network = backbone.encoder._net.network
    (file,) = kept(card)
    projection = load_file(file)["projection"]
    seen = []
    network.model.layer3.register_forward_hook(lambda module, given, output: seen.append(output))
    backbone.embed(PHOTOS)
    expected = block_of_moments(moments(positions(seen[0], network), projection))
    np.testing.assert_allclose(block, expected, atol=1e-5)


def test_the_final_features_stay_as_they_are(card: Card) -> None:
    plain, both = Backbone.load(card), Backbone.load(card, taps=BOTH)
    assert plain.embed(PHOTOS).blocks.keys() == {FINAL}
    np.testing.assert_array_equal(both.embed(PHOTOS).blocks[FINAL], plain.embed(PHOTOS).blocks[FINAL])
    np.testing.assert_array_equal(both.embed(PHOTOS).label_index, plain.embed(PHOTOS).label_index)


def test_a_photo_is_seen_alike_in_every_batch(card: Card) -> None:
    backbone = Backbone.load(card, taps=BOTH)
    together = backbone.embed(PHOTOS).blocks[SECOND_ORDER]
    alone = np.concatenate([backbone.embed(photo[None]).blocks[SECOND_ORDER] for photo in PHOTOS])
    np.testing.assert_allclose(alone, together, atol=1e-3)
    assert np.abs(together[1:] - together[:-1]).max() > 0.01


class Narrow(Headed):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 20, 3, stride=16, padding=1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        return self.body(pixels).mean(dim=(2, 3)), None


@torch.inference_mode()
def test_a_net_of_few_channels_fills_as_many_rows(card: Card, tmp_path: Path) -> None:
    network = Narrow().eval()
    narrow = tap.SecondOrderTap.of(network, card, tmp_path)
    assert narrow.layer == "body"
    rows = narrow.projection.abs().sum(dim=1)
    assert (rows[:20] > 0).all()
    assert (rows[20:] == 0).all()
    network(torch.from_numpy(normalise(PHOTOS, card.preprocessing)))
    block = block_of_moments(narrow.read())
    assert block.shape == (6, DIMENSION)
    torch.testing.assert_close(block.norm(dim=1), torch.ones(6))
    assert (block != 0).sum(dim=1).max() <= 20 * 21 // 2


def test_a_net_without_a_fine_map_says_so(card: Card, tmp_path: Path) -> None:
    network = Narrow()
    network.body.stride = (32, 32)
    with pytest.raises(CardError, match="tiny has no map of positions that is fine enough"):
        tap.SecondOrderTap.of(network, card, tmp_path)
    assert list(tmp_path.glob("second-order-*")) == []


def test_it_is_learnt_only_once(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Backbone.load(card, taps=BOTH).embed(PHOTOS)
    (file,) = kept(card)
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
    monkeypatch.setattr(tap, "_learn", lambda *_: pytest.fail("learnt again"))
    again = Backbone.load(card, taps=BOTH).embed(PHOTOS)
    np.testing.assert_array_equal(again.blocks[SECOND_ORDER], first.blocks[SECOND_ORDER])


def test_learnt_twice_it_is_the_same(card: Card) -> None:
    _ = Backbone.load(card, taps=BOTH).encoder
    (file,) = kept(card)
    first = file.read_bytes()
    file.unlink()
    _ = Backbone.load(card, taps=BOTH).encoder
    assert file.read_bytes() == first


def test_cards_that_share_weights_and_look_otherwise_have_taps_of_their_own(card: Card) -> None:
    other = dataclasses.replace(card, preprocessing=dataclasses.replace(card.preprocessing, mean=(0.1, 0.2, 0.3)))
    for each in (card, other):
        _ = Backbone.load(each, taps=BOTH).encoder
    assert ensure_weights(card) == ensure_weights(other)
    one, two = (load_file(file)["projection"] for file in kept(card))
    assert not torch.allclose(one, two, atol=1e-3)


def test_nobody_learns_a_tap_that_nobody_asked_for(card: Card) -> None:
    _ = Backbone.load(card).encoder
    assert kept(card) == []


def test_every_thread_gets_its_own_rows(card: Card) -> None:
    backbone = Backbone.load(card, taps=BOTH)
    expected = [backbone.embed(photo[None]).blocks[SECOND_ORDER] for photo in PHOTOS]
    together = Barrier(len(PHOTOS))

    def look(photo: np.ndarray) -> list[np.ndarray]:
        together.wait(30)
        return [backbone.embed(photo[None]).blocks[SECOND_ORDER] for _ in range(10)]

    with ThreadPoolExecutor(len(PHOTOS)) as threads:
        for alone, found in zip(expected, threads.map(look, PHOTOS), strict=True):
            for block in found:
                np.testing.assert_allclose(block, alone, atol=1e-3)


def test_half_precision_is_close_and_given_as_float32(card: Card) -> None:
    full, half = (Backbone.load(card, taps=BOTH, precision=precision) for precision in ("fp32", "bf16"))
    assert (full.precision, half.precision) == ("fp32", "bf16")
    one, other = full.embed(PHOTOS), half.embed(PHOTOS)
    for name in BOTH:
        assert other.blocks[name].dtype == np.float32
        scale = np.linalg.norm(one.blocks[name], axis=1)
        gap = np.linalg.norm(one.blocks[name] - other.blocks[name], axis=1) / scale
        assert 0 < gap.max() < 0.1
    # The projection is learnt in full precision whoever asks for it first.
    assert len(kept(card)) == 1


def test_its_projection_is_normalised_as_the_net_is(card: Card) -> None:
    """The generated photos go through the card's own framing and normalisation."""
    backbone = Backbone.load(card, taps=BOTH)
    _ = backbone.encoder
    network = NETS[card.net]().assemble(card, ensure_weights(card)).network
    maps = []
    network.model.layer3.register_forward_hook(lambda module, given, output: maps.append(positions(output, network)))
    for photo in generated_photos(5):
        framed = frame(photo, *card.preprocessing.framing)[None]
        network(torch.from_numpy(normalise(framed, card.preprocessing)))
    (file,) = kept(card)
    projection = load_file(file)["projection"]
    np.testing.assert_allclose(projection, learn_projection(maps), atol=1e-3)
    assert projection.shape == (CHANNELS, 192)
