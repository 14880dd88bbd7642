"""Weights that the hub's own cache holds already, with the network denied."""

import dataclasses
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from manyeyes.backbones import describe
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.describe import describe_timm
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.sources import hub, sha256_of
from manyeyes.backbones.sources.hub import HubSource, TimmSource
from manyeyes.backbones.timm_import import timm
from manyeyes.backbones.weights import ensure_weights
from manyeyes.errors import CardError, ChecksumError, FetchError, OfflineError, UnknownNameError

PretrainedCfg = timm.models.PretrainedCfg
TINY = "test_resnet.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(hub_cache: Path, tiny_model: torch.nn.Module) -> Path:
    """The tiny model where huggingface_hub would have put it."""
    repository = hub_cache / f"models--timm--{TINY}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    save_file(tiny_model.state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


@pytest.mark.parametrize("source", [f"timm:{TINY}", f"hf-hub:timm/{TINY}", f"hf-hub:timm/{TINY}@{COMMIT}"])
def test_cached_weights_are_used_offline(cached, tiny_model, tiny_card, source):
    card = Card(**{**vars(tiny_card), "source": source, "licence": "Apache-2.0"})
    photos = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    features = Backbone.load(card).embed(photos).blocks[FINAL]
    with torch.inference_mode():
        pixels = torch.from_numpy(normalise(photos, card.preprocessing))
        expected = tiny_model.forward_head(tiny_model.forward_features(pixels), pre_logits=True)
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_cached_weights_are_used_when_the_network_is_down(cached, tmp_path, online):
    assert HubSource().fetch(f"timm/{TINY}", "", None, tmp_path).samefile(cached)


def test_timm_describes_what_it_publishes(cached, tiny_model, tiny_card):
    card = describe_timm("test_resnet")
    assert (card.name, card.source, card.architecture) == (TINY, f"timm:{TINY}", "test_resnet")
    assert card.dimension == tiny_model.num_features
    assert card.preprocessing == tiny_card.preprocessing
    assert (card.labels, card.licence) == ("imagenet-1k", "apache-2.0")
    ensure_weights(card)


def test_a_licence_that_timm_calls_unknown_is_undeclared(monkeypatch):
    record = dataclasses.replace(hub.timm_record(TINY), license="unknown")
    monkeypatch.setattr(describe, "timm_record", lambda name: record)
    assert describe_timm(TINY).licence is None


def test_nets_that_do_not_look_at_square_photos_are_refused(monkeypatch):
    record = dataclasses.replace(hub.timm_record(TINY), input_size=(3, 160, 320))
    monkeypatch.setattr(describe, "timm_record", lambda name: record)
    with pytest.raises(CardError, match="looks at inputs of"):
        describe_timm(TINY)


def test_manyeyes_offline_keeps_the_hubs_client_from_asking(cached, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    assert HubSource().fetch(f"timm/{TINY}", "", None, tmp_path).samefile(cached)
    assert not asked


@pytest.mark.parametrize("name", ["no_such_net", "test_resnet.no_such_tag"])
def test_a_name_that_timm_does_not_publish_is_unknown(name, tmp_path):
    with pytest.raises(UnknownNameError, match=f"publishes no weights called '{name}'"):
        describe_timm(name)
    with pytest.raises(UnknownNameError, match="publishes no weights"):
        TimmSource().fetch(name, "", None, tmp_path)


@pytest.mark.parametrize(
    ("source", "word"),
    [(f"timm:{TINY}", f"timm:{TINY}"), (f"hf-hub:timm/{TINY}", "tiny"), ("timm:legacy_xception.tf_in1k", "timm:leg")],
)
def test_offline_names_the_card_and_the_command(tiny_card, source, word):
    card = Card(**{**vars(tiny_card), "source": source, "licence": "MIT"})
    with pytest.raises(OfflineError, match=f"weights of tiny are not on this machine.*manyeyes backbones pull {word}"):
        ensure_weights(card)


def test_a_hub_out_of_reach_is_named(tmp_path, online):
    with pytest.raises(FetchError, match=r"hf-hub:timm/nothing has no model\.safetensors that can be reached"):
        HubSource().fetch("timm/nothing", "", None, tmp_path)


def test_other_bytes_than_the_cards_are_refused(cached, tmp_path):
    with pytest.raises(ChecksumError, match="is not the file its card names"):
        HubSource().fetch(f"timm/{TINY}", "", "0" * 64, tmp_path)


@pytest.mark.parametrize("inside", ["pytorch_model.bin", "model.pth", "model.pkl", "../../secret.safetensors"])
def test_formats_that_may_run_code_and_paths_outside_are_refused(inside):
    with pytest.raises(CardError):
        HubSource().needs_network(f"timm/{TINY}", inside)


@pytest.mark.parametrize("stamp", ["9a129038", "98b2d000"])
def test_an_address_is_downloaded_and_its_stamp_checked(tmp_path, monkeypatch, stamp):
    """Some old nets (legacy_xception …) are not on the hub; timm gives an address."""
    published = tmp_path / f"net-{stamp}.pth"
    published.write_bytes(b"weights")
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr(hub, "timm_record", lambda name: PretrainedCfg(url=published.as_uri()))
    if sha256_of(published).startswith(stamp):
        assert TimmSource().fetch("net.old", "", None, folder).read_bytes() == b"weights"
    else:
        with pytest.raises(ChecksumError, match="has not the sha256 that its name promises"):
            TimmSource().fetch("net.old", "", None, folder)
        assert not list(folder.iterdir())


def test_an_address_out_of_reach_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "timm_record", lambda name: PretrainedCfg(url="http://127.0.0.1:9/net.pth"))
    with pytest.raises(FetchError, match=r"http://127\.0\.0\.1:9/net\.pth cannot be reached"):
        TimmSource().fetch("net.old", "", None, tmp_path)
