"""What the server does not take on, and how it says so."""

import asyncio
import threading

import pytest
from serve.conftest import app_of, client_of, form

from manyeyes.errors import ChoiceError
from manyeyes.serve.key import read_key
from manyeyes.serve.limits import Limits

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def ask(model):
    async def post(limits=None, **request):
        async with client_of(app_of(model, **(limits or {}))) as client:
            response = await client.post("/predict", **request)
        assert response.status_code >= 400
        assert list(response.json()) == ["detail"]
        return response.status_code, response.json()["detail"]

    return post


async def test_what_is_neither_a_form_nor_a_photo(ask, photo):
    assert (await ask(json={"photo": "x"}))[0] == 415
    assert (await ask(data={"photos": "x"}))[0] == 415
    assert (await ask())[0] == 415
    assert (await ask(content=photo))[0] == 415


async def test_no_photo(ask, photo):
    assert (await ask(content=b"", headers={"Content-Type": "image/png"}))[0] == 422
    assert (await ask(files=[("others", ("a.png", photo))]))[0] == 422
    status, words = await ask(files=[("photos", (None, b"text"))])
    assert (status, words) == (422, "the form's field 'photos' must be files, with file names")


async def test_a_form_that_is_none(ask, photo):
    head = {"Content-Type": "multipart/form-data; boundary=xyz"}
    part = b'--xyz\r\nContent-Disposition: form-data; name="photos"; filename="a.png"\r\n\r\n' + photo
    assert (await ask(content=b"nonsense", headers=head))[0] == 400
    assert (await ask(content=photo, headers={"Content-Type": "multipart/form-data"}))[0] == 400
    # The parser would drop the photo that was cut, and answer for the others.
    status, words = await ask(content=part + b"\r\n" + part, headers=head)
    assert (status, words) == (400, "the body is no multipart/form-data: it has no end")


async def test_too_much(ask, photo):
    n = len(photo)
    assert "a request may have" in (await ask({"request_bytes": n, "photo_bytes": n}, files=form(photo)))[1]
    status, words = await ask({"photo_bytes": n - 1}, files=form(photo[:5], photo))
    assert (status, words) == (413, f"photo 2 has {n} bytes; at most {n - 1} are taken")
    status, words = await ask({"request_photos": 2}, files=form(photo, photo, photo))
    assert (status, words) == (413, "a request may have 2 photos at most")


async def test_more_than_is_held_at_a_time(model, photo):
    """Bytes of requests that are not answered yet; answered ones give theirs back."""
    limits = {"photo_bytes": len(photo), "request_bytes": len(photo) + 300, "held_bytes": len(photo) + 300}
    go, looked = threading.Event(), threading.Event()

    def look(photos):
        looked.set()
        go.wait(10)
        return []

    app = app_of(model, look=look, **limits, answer_seconds=0.5)
    async with client_of(app) as client:
        first = asyncio.create_task(client.post("/predict", files=form(photo)))
        await asyncio.to_thread(looked.wait)
        second = await client.post("/predict", files=form(photo))
        assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
        assert (await first).status_code == 504
        third = await client.post("/predict", files=form(photo))
        assert third.status_code == 504
        go.set()


async def test_the_key(model, photo):
    async with client_of(app_of(model, key="right")) as client:
        assert (await client.get("/healthz")).status_code == (await client.get("/")).status_code == 200
        for path in ("/model", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers={"X-API-Key": "right"})).status_code == 200
        for given in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": "right "[:4]}, {"X-API-Key": b"\xff\xfe"}):
            response = await client.post("/predict", files=form(photo), headers=given)
            assert response.status_code == 401
            assert "X-API-Key" in response.json()["detail"]
        assert (await client.post("/predict", files=form(photo), headers={"X-API-Key": "right"})).status_code == 200
        assert (
            'manyeyes_requests_total{status="401"} 4.0'
            in (await client.get("/metrics", headers={"X-API-Key": "right"})).text
        )


def test_where_the_key_lies(tmp_path, monkeypatch):
    assert read_key(None) is None
    monkeypatch.setenv("MANYEYES_API_KEY", " of the environment\n")
    assert read_key(None) == "of the environment"
    (tmp_path / "key").write_text("of the file\n")
    assert read_key(tmp_path / "key") == "of the file"
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ChoiceError, match="is empty"):
        read_key(tmp_path / "key")
    with pytest.raises(ChoiceError, match="can be read"):
        read_key(tmp_path / "none")
    monkeypatch.setenv("MANYEYES_API_KEY", "")
    with pytest.raises(ChoiceError, match="MANYEYES_API_KEY is empty"):
        read_key(None)


def test_limits_that_refuse_what_others_allow():
    with pytest.raises(ChoiceError, match="a photo may have 20,000,000 bytes, and a request only 5"):
        Limits(request_bytes=5)
    with pytest.raises(ChoiceError, match="all requests together only 5"):
        Limits(held_bytes=5)
    with pytest.raises(ChoiceError, match="32 photos, and only 3 may wait"):
        Limits(waiting=3)
