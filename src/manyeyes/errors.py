"""What can go wrong, by name. Every message is one line that says what is wrong, where, and what to do about it."""

from collections.abc import Sequence
from typing import Any


class ManyEyesError(Exception):
    """Base of every error that manyeyes raises on purpose; the command line prints it as one line."""


class UnknownNameError(ManyEyesError, KeyError):
    """A name that no registry holds (a card, zoo, gate, fusion …)."""

    def __str__(self) -> str:
        # KeyError would print the message's repr, quotes and all.
        return str(self.args[0])


class ChoiceError(ManyEyesError, ValueError):
    """Choices that exist, and do not go together."""


class MissingExtraError(ManyEyesError, ImportError):
    """A feature needs an optional package that is not installed."""


class OfflineError(ManyEyesError):
    """Something must be fetched, and the network is not allowed."""


class FetchError(ManyEyesError):
    """The user's package client or hub could not deliver a file."""


class ChecksumError(ManyEyesError):
    """A downloaded or stored file is not the one that its card or config names."""


class UnsafeArchiveError(ManyEyesError):
    """An archive holds a path that would land outside its folder, a link, or more bytes than it should."""


class CardError(ManyEyesError):
    """A card that cannot be right: wrong fields, wrong dimension, or an embedding that is not the reference one."""


class LicenceError(ManyEyesError):
    """Weights whose licence is not declared, and which the user has not accepted."""


class PhotoSourceError(ManyEyesError, ValueError):
    """A folder or manifest from which no labelled photos can be read."""


class TooManyRejectedError(ManyEyesError, ValueError):
    """More photos than allowed could not be read: those of ``rejected``."""

    def __init__(self, message: str, rejected: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.rejected = tuple(rejected)


class StoreError(ManyEyesError):
    """The feature store cannot be read or written."""


class LackingError(StoreError):
    """Features that are asked for are not in the feature store, or no longer."""


class PlaceError(ManyEyesError):
    """A URL that no filesystem opens, or a place that does not answer or lets this user in."""


class ClusterError(ManyEyesError):
    """A Ray cluster that cannot be started or reached, or whose workers die again and again."""


class WordVectorError(ManyEyesError, ValueError):
    """A file of word vectors that cannot be read as one."""


class StudyError(ManyEyesError):
    """A folder that is not a study, or where none can be written, or a study of which methods failed."""


class BundleError(ManyEyesError):
    """A folder that is not a bundle, is damaged, or was changed after it was written."""


class EngineError(ManyEyesError):
    """An engine that this machine cannot have, or that cannot run a network."""


class LackingBackboneError(ManyEyesError):
    """A fusion that can say nothing without a backbone that cannot look."""


class AdaptError(ManyEyesError):
    """A backbone that cannot be adapted as asked, or a domain that does not fit its backbone or is damaged."""
