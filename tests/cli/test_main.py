"""How errors, silence and Ctrl-C reach the user."""

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import time
import warnings

import pytest
from small_world import write_photos

from manyeyes.backbones.zoo import known_cards
from manyeyes.features.store import FeatureStore

from .conftest import PROGRAM


def test_an_error_is_one_line_and_verbose_shows_the_traceback(program, run, tmp_path):
    plain = program("samples", "cars", "-o", tmp_path / "photos")
    assert plain.status == 1
    assert plain.err == f"{plain.error}\n"
    assert plain.out == ""
    verbose = run("samples", "cars", "-o", tmp_path / "photos", "-v")
    assert verbose.status == 1
    assert "Traceback" in verbose.err
    assert verbose.err.endswith(plain.err)


def test_a_fault_of_ours_is_one_line_too(run, trained, world, monkeypatch):
    monkeypatch.setattr("manyeyes.predictions.predictions", lambda *given: 1 // 0)
    done = run("predict", trained, world.paths[0])
    assert done.status == 70
    assert done.error == (
        "error: unexpected ZeroDivisionError: integer division or modulo by zero (run again with -v for the traceback)"
    )


def test_verbose_says_which_engine_runs_a_backbone(program, run, world, tmp_path):
    zoo = world.zoo.split(",")[-1]
    words = ["extract", world.photos, "--zoo", zoo, "--features", tmp_path / "features"]
    plain = program(*words)
    assert (plain.status, plain.err.count("\n")) == (0, 1)
    verbose = run(*words[:-1], tmp_path / "others", "-v")
    assert verbose.status == 0
    assert "torch, for there are too few photos to find out what is faster" in verbose.err


def test_quiet_leaves_standard_error_empty(program, run, world, tmp_path):
    words = ["--zoo", world.fast_zoo, "--gate", "uniform", "--no-compare", "-q"]
    shutil.copytree(world.photos, tmp_path / "photos")
    (tmp_path / "photos" / "sea" / "bad.jpg").touch()
    done = program("fit", tmp_path / "photos", "-o", tmp_path / "model", *words)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"model saved in {tmp_path / 'model'}\n"
    done = run("evaluate", tmp_path / "model", tmp_path / "photos", "-q")
    assert (done.status, done.err) == (0, "")


def test_warnings_for_programmers_are_no_remarks_for_users(run, trained, world, monkeypatch, recwarn):
    def warn(*given):
        warnings.warn("pass the argument by its name", FutureWarning, stacklevel=1)
        return []

    monkeypatch.setattr("manyeyes.predictions.predictions", warn)
    for words, count in (([], 0), (["-v"], 1)):
        run("predict", trained, world.paths[0], *words)
        assert len([one for one in recwarn if one.category is FutureWarning]) == count


def test_even_when_quiet_an_error_is_said(run, world, tmp_path):
    assert run("predict", "-q", tmp_path / "none", world.paths[0]).error
    assert run("backbones", "pull", world.fast_zoo.partition(",")[0]).err  # the next command is quiet no longer


def test_an_error_with_control_characters_is_still_one_line(run, world, tmp_path):
    error = run("predict", tmp_path / "none\x1b[31m\nred", world.paths[0]).error
    assert error.isprintable()


def in_terminal(columns, *command):
    """What a terminal of this width is sent."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (50, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as running:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while data := os.read(ours, 4096):
                shown += data
        os.close(ours)
    assert running.returncode == 0
    return shown.decode()


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_sees_tables_no_wider_than_itself(columns):
    shown = in_terminal(columns, *PROGRAM, "backbones", "list")
    assert "\x1b[" in shown  # it is a terminal indeed
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= columns
    assert all(any(f" {name} " in line for line in lines) for name in known_cards())


@pytest.fixture
def many(tmp_path):
    write_photos(tmp_path / "photos", ["a", "b", "c"], count=70)
    return tmp_path / "photos"


def test_ctrl_c_ends_with_one_line_and_a_rerun_goes_on(run, world, many, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    words = ["fit", str(many), "-o", str(tmp_path / "model"), "--zoo", world.fast_zoo, "--gate", "uniform"]
    with subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stopped:
        end = time.monotonic() + 60
        while not list(FeatureStore().root.glob("thumbnails-*/shard-*")) and time.monotonic() < end:
            time.sleep(0.005)
        stopped.send_signal(signal.SIGINT)
        out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "Traceback" not in err
    last = "stopped: all finished work is kept, and running the command again goes on from there"
    assert err.splitlines()[-1] == last
    assert "model saved" not in out
    assert not (tmp_path / "model").exists()
    again = run(*words, "--no-compare")
    assert again.status == 0
    looked_at = int(again.err.split("tint, edges; ")[1].split(" ")[0])
    assert looked_at <= 210 - 64
