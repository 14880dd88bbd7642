"""The study's figures. Each is one function from what the study measured to a matplotlib figure."""

from importlib.util import find_spec

from manyeyes.errors import MissingExtraError

if find_spec("matplotlib") is None:
    raise MissingExtraError("a study's figures need matplotlib: pip install 'manyeyes[study]'")
