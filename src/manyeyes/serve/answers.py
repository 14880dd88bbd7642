"""What the server answers, as records whose JSON schema stands in ``/openapi.json``."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyeyes.fusion.cascade import Cascade
from manyeyes.images import Reason, Rejected
from manyeyes.predictions import Prediction
from manyeyes.serve.limits import Limits
from manyeyes.version import __version__

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Vote(_Record):
    """What one expert says. `weight`: what the gate gives it, where the model has one for all photos. `contributions`:
    of the backbone's taps, where the model tells: what each adds to the log-odds of the class over the runner-up."""

    backbone: str
    label: str
    probability: Share
    weight: Share | None
    contributions: dict[str, float]


class Turn(_Record):
    """A backbone that was asked, the answer with it, and what all that were asked by then cost, as a share of what all
    backbones do."""

    backbone: str
    label: str
    probability: Share
    cost: Share


class Predicted(_Record):
    """What a photo shows. `turns` and `stopped`, of a model with a budget: who was asked, one after the other, and why
    nobody else was. `lost`: backbones that cannot look at the moment, and were done without."""

    status: Literal["predicted"]
    name: str
    label: str
    probability: Share
    probabilities: dict[str, Share]
    votes: list[Vote]
    turns: list[Turn]
    stopped: str
    lost: list[str]


class NotRead(_Record):
    """Why a file is no photo that can be read."""

    status: Literal["rejected"]
    name: str
    reason: Reason
    detail: str


class Answer(_Record):
    """One outcome for each photo, in the order in which they came."""

    photos: list[Annotated[Predicted | NotRead, Field(discriminator="status")]]


class Health(_Record):
    """Whether photos are being looked at."""

    status: Literal["ok", "stopping"]


class About(_Record):
    """The model, and what the server takes on."""

    version: str
    classes: list[str]
    backbones: list[str]
    has_budget: bool
    max_photo_bytes: int
    max_photo_pixels: int
    max_request_bytes: int
    max_request_photos: int


class Problem(_Record):
    """Why a request is refused."""

    detail: str


def answer(name: str, outcome: Prediction | Rejected) -> Predicted | NotRead:
    """The record of a photo that its sender calls ``name``.

    Why a backbone cannot look is left out: that may tell where files of this machine lie.
    """
    if isinstance(outcome, Rejected):
        return NotRead(status="rejected", name=name, reason=outcome.reason, detail=outcome.detail)
    return Predicted(
        status="predicted",
        name=name,
        label=outcome.label,
        probability=outcome.probability,
        probabilities=outcome.probabilities,
        votes=[Vote(**vars(vote)) for vote in outcome.votes],
        turns=[Turn(**vars(turn)) for turn in outcome.turns],
        stopped=outcome.stopped,
        lost=list(outcome.lost),
    )


def about(model: "ManyEyesClassifier", limits: Limits) -> About:
    return About(
        version=__version__,
        classes=[str(name) for name in model.classes_],
        backbones=[card.name for card in model.cards_],
        has_budget=isinstance(model.fusion_, Cascade),
        max_photo_bytes=limits.photo_bytes,
        max_photo_pixels=limits.photo_pixels,
        max_request_bytes=limits.request_bytes,
        max_request_photos=limits.request_photos,
    )
