"""The fence around the other tests stands."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest


def test_no_address_outside_can_be_reached():
    with pytest.raises(AssertionError, match="network is denied"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(AssertionError, match="network is denied"),
    ):
        sock.sendto(b"", ("192.0.2.1", 53))


def test_no_name_is_looked_up():
    with pytest.raises(AssertionError, match="network is denied"):
        urllib.request.urlopen("http://example.invalid", timeout=1)


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()


def test_pip_has_no_index(tmp_path):
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(tmp_path), "six"]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Looking in" not in done.stdout
    assert not list(tmp_path.iterdir())
