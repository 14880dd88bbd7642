"""How work is cut: chunks as large as the engines want them, weights that need not be held at the same time."""

import numpy as np
import pytest
from PIL import Image

from manyeyes.backbones.backbone import Backbone
from manyeyes.features import pipeline
from manyeyes.features.extract import extract
from manyeyes.features.pipeline import CHUNK, MOST
from manyeyes.features.store import FeatureStore

from .stored import check_equal


def sizes(photos: int, backbones: list[Backbone]) -> list[int]:
    """Of the chunks; networks are built when the first is taken."""
    found = []
    for chunk in pipeline._chunks([(str(number), "") for number in range(photos)], backbones):
        found.append(len(chunk))
        for backbone in backbones:
            _ = backbone.encoder
    return found


def test_chunks_give_every_core_a_pass(backbones, monkeypatch):
    monkeypatch.setattr(pipeline, "cores", lambda: 8)
    backbones[0].batch_size = 20
    assert sizes(1000, backbones) == [CHUNK, 160, 160, 160, 160, 160, 136]


@pytest.mark.parametrize(("cores", "batch", "size"), [(2, 4, CHUNK), (64, 16, MOST), (1, 5000, MOST), (1, 100, 100)])
def test_chunks_have_bounds(backbones, monkeypatch, cores, batch, size):
    monkeypatch.setattr(pipeline, "cores", lambda: cores)
    for backbone in backbones:
        backbone.batch_size = batch
    assert sizes(3000, backbones)[:3] == [CHUNK, size, size]


def test_the_batch_size_that_was_asked_for_is_that_of_the_passes(backbones, paths, tmp_path, monkeypatch):
    seen = []
    embed = Backbone.embed
    monkeypatch.setattr(Backbone, "embed", lambda self, framed: seen.append(len(framed)) or embed(self, framed))
    for backbone in backbones:
        backbone.batch_size = 7
    extract(paths[:CHUNK], backbones, FeatureStore(tmp_path))
    assert sorted(seen) == sorted([7] * 9 + [1] + [7] * 9 + [1])


@pytest.mark.usefixtures("same_chunks")
def test_weights_for_which_there_is_no_room_come_after_the_others(backbones, paths, truth, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "ROOM", max(backbone.bytes for backbone in backbones))
    held = []
    start = pipeline._Crew._start_passes
    monkeypatch.setattr(
        pipeline._Crew,
        "_start_passes",
        lambda *given: held.append([backbone.is_built for backbone in backbones]) or start(*given),
    )
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    seen = extract([*paths, str(broken)], backbones, FeatureStore(tmp_path / "features"))
    assert seen.computed == len(paths) and len(seen.rejected) == 1
    check_equal(seen.table, truth, backbones)
    assert [True, False] in held and [False, True] in held and [True, True] not in held
    assert extract(paths, backbones, FeatureStore(tmp_path / "features")).computed == 0


def test_one_photo_more_for_one_backbone_is_not_looked_at_by_the_other(backbones, paths, tmp_path):
    store = FeatureStore(tmp_path)
    extract(paths[:5], backbones[:1], store)
    seen = extract(paths[:6], backbones, store)
    assert seen.computed == 6
    assert len(seen.table) == 6


def test_progress_ends_at_the_number_of_photos(backbones, paths, tmp_path, monkeypatch):
    """Each step of a photo is a part of it, and with a broken file all parts are done at once."""
    broken = tmp_path / "broken.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:-20])
    done = []
    counting = pipeline.counting

    def noted(what, total, unit):
        class Noting:
            def __enter__(self):
                self.real = counting(what, total, unit)
                advance = self.real.__enter__()
                return lambda count: done.append(count) or advance(count)

            def __exit__(self, *error):
                return self.real.__exit__(*error)

        assert total == 11
        return Noting()

    monkeypatch.setattr(pipeline, "counting", noted)
    extract([*paths[:10], str(broken)], backbones, FeatureStore(tmp_path / "features"))
    assert sum(done) == pytest.approx(11)
    assert len(done) > 11
