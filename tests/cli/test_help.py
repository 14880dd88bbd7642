"""Help answers at once: nothing heavy is imported before a command needs it."""

import subprocess
import sys

import pytest

from manyeyes import ManyEyesClassifier, __version__

COMMANDS = [
    [],
    ["fit"],
    ["predict"],
    ["evaluate"],
    ["extract"],
    ["serve"],
    ["study"],
    ["samples"],
    ["backbones"],
    ["backbones", "list"],
    ["backbones", "show"],
    ["backbones", "pull"],
    ["features"],
    ["features", "info"],
    ["features", "prune"],
]
HEAVY = {
    "ray",
    "torch",
    "timm",
    "pyarrow",
    "sklearn",
    "scipy",
    "numpy",
    "PIL",
    "fastapi",
    "onnxruntime",
    "huggingface_hub",
}


def test_no_help_imports_anything_heavy():
    code = f"""
import sys
from manyeyes.cli.main import main
for words in {COMMANDS}:
    sys.argv = ["manyeyes", *words, "--help"]
    try:
        main()
    except SystemExit as left:
        assert left.code == 0, words
heavy = {HEAVY} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: manyeyes") == len(COMMANDS)


def test_what_only_networks_need_is_not_imported_for_photos_that_were_seen(world, tmp_path):
    model = ManyEyesClassifier(zoo=world.zoo, fusion="mixture", gate="uniform").fit(world.paths, world.labels)
    model.save(tmp_path / "model")
    code = f"""
import sys
from manyeyes.cli.main import main
sys.argv = ["manyeyes", "predict", {str(tmp_path / "model")!r}, {world.paths[0]!r}]
try:
    main()
except SystemExit as left:
    assert left.code == 0
heavy = {{"timm", "torchvision", "onnxruntime"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert world.labels[0] in done.stdout


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_fits_the_terminal_and_explains_every_option(run, words, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    done = run(*words, "-h")
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= int(columns)
    assert "Usage: manyeyes" in done.out


@pytest.mark.parametrize("words", [[], ["backbones"], ["features"]], ids=" ".join)
def test_without_a_command_the_help_is_shown(run, words):
    assert "Commands" in run(*words).out + run(*words).err


def test_version(run):
    done = run("--version")
    assert (done.status, done.out) == (0, f"manyeyes {__version__}\n")
