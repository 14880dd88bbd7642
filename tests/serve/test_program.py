"""``manyeyes serve`` as users run it: many at a time, one who stalls, and an end."""

import asyncio
import builtins
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from cli.conftest import run  # noqa: F401
from serve.conftest import form, serving

from manyeyes.serve.running import open_socket


def metrics(url):
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_five_hundred_at_a_time_are_answered_or_sent_away_and_none_is_lost(world, bundle, model):
    photos = [Path(path).read_bytes() for path in world.paths]
    expected = model.predict(world.paths)

    async def ask_all(url):
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
            asked = [client.post("/predict", files=form(photos[i % len(photos)])) for i in range(500)]
            return await asyncio.gather(*asked)

    with serving(bundle, "--waiting", 50) as server:
        responses = asyncio.run(ask_all(server.url))
        counted = metrics(server.url)
        status, err = server.stop()
    statuses = Counter(one.status_code for one in responses)
    assert set(statuses) == {200, 429}, statuses
    assert statuses.total() == 500
    assert {one.headers.get("Retry-After") for one in responses if one.status_code == 429} == {"1"}
    for i, one in enumerate(responses):
        if one.status_code == 200:
            assert one.json()["photos"][0]["label"] == expected[i % len(photos)]
    assert counted['manyeyes_requests_total{status="200"}'] == statuses[200]
    assert counted['manyeyes_requests_total{status="429"}'] == statuses[429]
    assert counted['manyeyes_photos_total{outcome="predicted"}'] == statuses[200]
    assert counted["manyeyes_batch_photos_sum"] == statuses[200]
    assert counted["manyeyes_batch_photos_count"] < statuses[200]
    assert counted["manyeyes_request_seconds_count"] == 500
    assert counted["manyeyes_waiting_photos"] == 0
    assert (status, err) == (0, "")


@pytest.mark.parametrize("trickle", [False, True], ids=["stands still", "trickles"])
def test_who_stalls_keeps_nobody_waiting(bundle, photo, trickle):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 10000\r\n\r\n"
    with serving(bundle, "--receive-seconds", 1) as server:
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port), timeout=10) as slow:
            start = time.monotonic()
            slow.sendall(head + b"\x89PNG")
            assert httpx.post(f"{server.url}/predict", files=form(photo)).status_code == 200
            while trickle and time.monotonic() - start < 0.9:
                slow.sendall(b".")
                time.sleep(0.05)
            said = b"".join(iter(lambda: slow.recv(4096), b""))
        assert 0.9 < time.monotonic() - start < 5
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"too long to arrive" in said
        assert server.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_accepted_is_answered_before_the_end(bundle, photo, number):
    said = []
    with serving(bundle, "--gather-ms", 1500) as server:
        asking = threading.Thread(target=lambda: said.append(httpx.post(f"{server.url}/predict", files=form(photo))))
        asking.start()
        while metrics(server.url)["manyeyes_waiting_photos"] < 1:
            time.sleep(0.01)
        assert server.stop(number) == (0, "")
        asking.join()
        assert said[0].json()["photos"][0]["status"] == "predicted"
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_the_key_of_the_environment(bundle, photo):
    with serving(bundle, MANYEYES_API_KEY="secret") as server:
        assert httpx.post(f"{server.url}/predict", files=form(photo)).status_code == 401
        head = {"X-API-Key": "secret"}
        assert httpx.post(f"{server.url}/predict", files=form(photo), headers=head).status_code == 200


def test_a_large_body_that_is_refused_is_told_so(bundle):
    """And not cut off while it is still sent."""
    with serving(bundle, MANYEYES_API_KEY="secret") as server:
        assert httpx.post(f"{server.url}/predict", files=form(bytes(10**7))).status_code == 401
        head = {"X-API-Key": "secret", "Content-Type": "image/png"}
        assert httpx.post(f"{server.url}/predict", content=bytes(8 * 10**7), headers=head).status_code == 413


def test_an_address_that_cannot_be_had(run, bundle):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = run("serve", bundle, "--port", port).error
    assert f"nobody can be served at 127.0.0.1, port {port}: Address already in use; choose another --port" in error
    assert "a photo may have 99,000,000 bytes, and a request only" in run("serve", bundle, "--max-photo-mb", 99).error


def test_an_address_of_version_six():
    try:
        opened = open_socket("::1", 0)
    except Exception:
        pytest.skip("this machine has no IPv6")
    with opened:
        assert opened.family == socket.AF_INET6


def test_the_extra_that_is_wanted(run, bundle, monkeypatch):  # noqa: F811
    really = builtins.__import__

    def lacking(name, *arguments, **options):
        if name.split(".")[0] == "fastapi":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *arguments, **options)

    for name in [name for name in sys.modules if name.startswith("manyeyes.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", lacking)
    assert "serve needs fastapi: pip install 'manyeyes[serve]'" in run("serve", bundle).error
