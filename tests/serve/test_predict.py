"""What the server says of photos: what the model says of the same files, and why it cannot read others."""

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from serve.conftest import app_of, client_of, fitted, form, png

from manyeyes import ManyEyesClassifier
from manyeyes.errors import FetchError
from manyeyes.predictions import predictions
from manyeyes.serve.looking import Looking

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def read(paths):
    return [Path(path).read_bytes() for path in paths]


async def test_it_says_what_the_model_says_of_the_files(model, world):
    paths = world.paths[::7]
    async with client_of(app_of(model)) as client:
        response = await client.post("/predict", files=form(*read(paths)))
    assert response.status_code == 200, response.text
    answers = response.json()["photos"]
    assert [one["name"] for one in answers] == [f"{number}.png" for number in range(len(paths))]
    for said, expected in zip(answers, predictions(model, paths), strict=True):
        assert (said["status"], said["label"]) == ("predicted", expected.label)
        assert said["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
        assert [vote["weight"] for vote in said["votes"]] == pytest.approx([vote.weight for vote in expected.votes])
        assert [vote["backbone"] for vote in said["votes"]] == ["tint", "edges"]
        assert (said["turns"], said["stopped"], said["lost"]) == ([], "", [])


async def test_one_photo_may_be_the_body(model, photo):
    async with client_of(app_of(model)) as client:
        response = await client.post("/predict", content=photo, headers={"Content-Type": "image/png"})
    (said,) = response.json()["photos"]
    assert (said["status"], said["name"]) == ("predicted", "photo")


async def test_a_budget_tells_who_was_asked(world, photo):
    model = fitted(world, budget=1000.0, budget_unit="ms")
    async with client_of(app_of(model)) as client:
        (said,) = (await client.post("/predict", files=form(photo))).json()["photos"]
        assert (await client.get("/model")).json()["has_budget"]
    assert said["turns"][-1]["label"] == said["label"]
    assert said["stopped"] == "all backbones were asked"
    assert said["votes"][0]["contributions"]


async def test_files_that_are_no_photos_keep_their_place(model, photo):
    bad = {
        "damaged": photo[: len(photo) // 2],
        "not an image": b"#!/bin/sh",
        "too large": png(300, 300),
        "empty": b"",
    }
    async with client_of(app_of(model, photo_pixels=80_000)) as client:
        said = (await client.post("/predict", files=form(photo, *bad.values(), photo))).json()["photos"]
    assert [one["status"] for one in said] == ["predicted", *["rejected"] * 4, "predicted"]
    assert [one["reason"] for one in said[1:5]] == list(bad)
    assert said[0]["probabilities"] == pytest.approx(said[5]["probabilities"])
    assert said[3]["detail"] == "300 x 300 pixels; at most 80,000 are decoded"


async def test_names_lose_their_folders(model, photo):
    names = ["/home/me/a.png", "C:\\photos\\b.png", "../../c.png", "x" * 999]
    async with client_of(app_of(model)) as client:
        response = await client.post("/predict", files=[("photos", (name, photo, "image/png")) for name in names])
    assert [one["name"] for one in response.json()["photos"]] == ["a.png", "b.png", "c.png", "x" * 255]


@pytest.mark.filterwarnings("ignore:edges cannot look")
async def test_a_backbone_that_is_lost_is_named_and_its_place_is_not(model, photo, monkeypatch):
    same = ManyEyesClassifier._same

    def without_edges(self, card):
        if card.name == "edges":
            raise FetchError("/secret/place/edges.onnx is gone")
        return same(self, card)

    monkeypatch.setattr(ManyEyesClassifier, "_same", without_edges)
    async with client_of(app_of(model)) as client:
        response = await client.post("/predict", files=form(photo))
    (said,) = response.json()["photos"]
    assert (said["lost"], [vote["backbone"] for vote in said["votes"]]) == (["edges"], ["tint"])
    assert "secret" not in response.text


async def test_nothing_stays_on_a_disk(model, world, tmp_path, monkeypatch):
    """Not even while it is looked at, and not even what is larger than forms are usually held in memory."""
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    Looking(model, 10**8).get_ready()
    before = sorted(tmp_path.rglob("*"))
    written, really = [], tempfile._io.open

    def noted(file, mode="r", *arguments, **options):
        if mode not in ("r", "rb"):
            written.append(file)
        return really(file, mode, *arguments, **options)

    monkeypatch.setattr(tempfile._io, "open", noted)
    random = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    large = b"P6 1000 1000 255\n" + random.tobytes()
    assert len(large) > 2**21
    async with client_of(app_of(model)) as client:
        response = await client.post("/predict", files=form(large, *read(world.paths[:3])))
    assert [one["status"] for one in response.json()["photos"]] == ["predicted"] * 4
    assert sorted(tmp_path.rglob("*")) == before
    assert not written


async def test_a_fault_of_ours_tells_nothing_of_this_machine(model, photo):
    def look(photos):
        raise RuntimeError(f"in {Path(__file__)}")

    async with client_of(app_of(model, look=look)) as client:
        response = await client.post("/predict", files=form(photo))
        counts = (await client.get("/metrics")).text
    assert response.status_code == 500
    assert json.loads(response.text) == {"detail": "something went wrong here, and it is logged"}
    assert 'manyeyes_requests_total{status="500"} 1.0' in counts


async def test_one_photo_that_breaks_the_model_is_not_the_others_fault(model, photo):
    looking = Looking(model, 10**8)

    def look(photos):
        if b"poison" in photos:
            raise MemoryError
        return looking(photos)

    async with client_of(app_of(model, look=look, gather_seconds=0.2)) as client:
        asked = [client.post("/predict", files=form(data)) for data in (photo, b"poison", photo)]
        statuses = [one.status_code for one in await asyncio.gather(*asked)]
    assert statuses == [200, 500, 200]
