"""Ways to run the command line: in this process, and as a program of its own."""

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from manyeyes import ManyEyesClassifier
from manyeyes.cli.main import main

PROGRAM = [sys.executable, "-m", "manyeyes.cli.main"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what was wrong."""
        (line,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        assert "Traceback" not in self.err
        assert self.err.endswith(f"{line}\n")
        return line


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("fit", photos, …)`` in this process."""

    def command(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["manyeyes", *map(str, words)])
        log, handler = logging.getLogger("manyeyes"), signal.getsignal(signal.SIGINT)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        log.setLevel(logging.NOTSET)
        signal.signal(signal.SIGINT, handler)
        code = left.value.code
        return Outcome(code if isinstance(code, int) else 0, *capsys.readouterr())

    return command


@pytest.fixture
def program() -> Run:
    """The same as a program of its own."""

    def command(*words: object) -> Outcome:
        done = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture(scope="session")
def trained(made_world, tmp_path_factory) -> Path:
    """A model of the small world, made in Python. Not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        model = ManyEyesClassifier(zoo=made_world.fast_zoo, fusion="mixture", gate="embedding")
        model.fit(made_world.paths, made_world.labels).save(folder)
    return folder
