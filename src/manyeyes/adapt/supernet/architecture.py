"""A backbone's weights and its freedom of architecture carried to a target: NTAA-style, stages (i), (ii) and (iv).

Tune all paths on the target, or first on a source; then, when one is chosen, take it out, to be trained alone
(:func:`manyeyes.adapt.adapting.go_on`) from the weights that it has by then.
"""

import dataclasses
from pathlib import Path as File

import torch
from accelerate import PartialState

from manyeyes.adapt.adapting import Course, fingerprint
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.distilling import DistillingTask
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.supernet.tuning import SupernetTask
from manyeyes.adapt.training import checkpoint as checkpoints
from manyeyes.adapt.training.loop import Training, train
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import fit_head
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.nets.whole import Headed, WholeNet
from manyeyes.errors import AdaptError
from manyeyes.version import __version__


def tune(
    bank: DomainBank,
    course: Course,
    plan: Plan,
    recipe: Recipe,
    folder: File | None = None,
    source: str | None = None,
    labelled: bool = True,
    anew: bool = True,
) -> tuple[Supernet, Training]:
    """Add a domain to the bank, and train all paths of the backbone for it.

    ``plan`` says what of the network is trained: all of it, or adapters, norms and heads. ``source`` is a domain of the
    bank to begin as, by the same plan: one whose paths were tuned before on other photos, say. With ``labelled`` False
    no label is looked at: paths learn to see what the backbone sees. ``folder`` is for what a killed run goes on from;
    once it is done, what was learnt stays there, and the same call reads it; it must be there with ``anew`` False.
    Raises AdaptError where it is not, for a plan that fits one path only, and where several processes were started.
    """
    if PartialState().num_processes > 1:
        raise AdaptError("all paths are tuned by one process: start it without accelerate launch")
    if source == course.name:
        raise AdaptError(f"the source and the target are both called {source!r}: give one of them another name")
    bank.to(PartialState().device)
    identity = [plan.to_dict(), source, labelled, __version__]
    place = folder and folder / f"{fingerprint(bank, [course], recipe, identity)}.safetensors"
    if not anew and (place is None or not checkpoints.is_closed(place)):
        raise AdaptError(
            f"no paths have been tuned for {course.name} with these photos and choices: do so first (--method supernet)"
        )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        domain = bank.put_new(course.name, course.photos.classes, plan)
        supernet = Supernet(bank, course.name)
    if source is not None:
        domain.begin_as(bank[source])
    task = (SupernetTask if labelled else DistillingTask)(supernet, course, recipe)
    if labelled and not (place and place.exists()):  # else all heads are read from there
        for path in supernet.ways_out():
            with supernet.on(path):
                fit_head(bank, course.name, course.photos, course.train, recipe.seed)
    training = train(task, recipe, place, f"all paths of {course.name}")
    if place is not None:
        checkpoints.close(place)
    return supernet, training


def alone(supernet: Supernet, path: Path, course: Course, preprocessing: Preprocessing) -> tuple[DomainBank, Course]:
    """A path as a backbone of its own, in a bank with a domain that has what the supernet's has on that path; and the
    course for it, of photos in its size.

    ``preprocessing`` is that of the supernet's backbone. The domain has all weights of its own, and inherits the head;
    where there is none, or one that knows nothing, it is fitted.
    """
    network = supernet.extract(path).cpu()
    assert isinstance(network, Headed)
    network.load_state_dict(network.state_dict() | PathJudge(supernet, course).statistics(path))
    size = supernet.size(path)
    bank = DomainBank(WholeNet(network, preprocessing.at(size)), size)
    if size != course.photos.size:
        course = dataclasses.replace(course, photos=course.photos.at(size))
    domain = bank.put_new(course.name, course.photos.classes, Plan("full"))
    bank.to(PartialState().device)
    head = supernet.head(path)
    if head is None or not head.weight.any():
        fit_head(bank, course.name, course.photos, course.train)
    else:
        domain.set_head(head.weight, head.bias)
    return bank, course
