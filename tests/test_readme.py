"""What the README shows is run: its commands and its Python, in its own order, on the sample photos."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mktestdocs import check_md_file

README = Path(__file__).parents[1] / "README.md"
SHELL = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for block in SHELL
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("manyeyes ")
]

pytestmark = pytest.mark.index


def manyeyes(folder, words):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def test_there_is_something_to_run():
    assert COMMANDS
    assert "```python\n" in README.read_text(encoding="utf-8")


def test_the_commands_and_then_the_python(tmp_path, monkeypatch):
    """In one folder: the Python reads the photos that the commands fetched."""
    for words in COMMANDS:
        manyeyes(tmp_path, words)
    monkeypatch.chdir(tmp_path)
    check_md_file(README, memory=True)
