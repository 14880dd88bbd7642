"""manyeyes: look at every photo with several pre-trained backbones, and learn whom to trust photo by photo."""

from typing import TYPE_CHECKING, Any

from manyeyes.version import __version__

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

__all__ = ["ManyEyesClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    # torch is imported only when the classifier is asked for, so that `manyeyes --help` answers at once.
    if name == "ManyEyesClassifier":
        from manyeyes.classifier import ManyEyesClassifier

        return ManyEyesClassifier
    raise AttributeError(f"module 'manyeyes' has no attribute {name!r}")
