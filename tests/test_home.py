"""Where the cache lies, and when the network is off."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manyeyes.home import cache_home, is_offline, network_off


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "here"))
    assert cache_home() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MANYEYES_HOME", "~/there")
    assert cache_home() == tmp_path / "there"
    # Package clients run in folders of their own.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANYEYES_HOME", "cache")
    assert cache_home() == tmp_path / "cache"


@pytest.mark.parametrize("unset", [True, False])
def test_by_default_it_lies_in_the_users_cache_folder(monkeypatch, tmp_path, unset):
    monkeypatch.delenv("MANYEYES_HOME") if unset else monkeypatch.setenv("MANYEYES_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == Path(tmp_path) / "manyeyes"


@pytest.mark.parametrize(("value", "off"), [("", False), ("0", False), ("False", False), ("1", True), ("yes", True)])
def test_the_environment_turns_the_network_off(monkeypatch, value, off):
    monkeypatch.setenv("MANYEYES_OFFLINE", value)
    assert is_offline() is off


def test_a_block_turns_it_off_and_never_on(online):
    with network_off(False):
        assert not is_offline()
    with network_off():
        with network_off(False):
            assert is_offline()
        assert is_offline()
    assert not is_offline()


def test_it_holds_in_every_thread_until_the_last_block_ends(online):
    with ThreadPoolExecutor(2) as pool:
        assert not pool.submit(is_offline).result()
        with network_off():
            assert pool.submit(is_offline).result()
            other = network_off()
            pool.submit(other.__enter__).result()
        assert is_offline()
        pool.submit(other.__exit__, None, None, None).result()
        assert not pool.submit(is_offline).result()
