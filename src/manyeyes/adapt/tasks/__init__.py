"""What a domain can be trained for, by the one training loop: objectives, and the labels that some of them read."""

from manyeyes.adapt.tasks.age import Age
from manyeyes.adapt.tasks.classification import Classification, Gender
from manyeyes.adapt.tasks.objective import Objective
from manyeyes.adapt.tasks.reidentification import ReIdentification
from manyeyes.errors import ChoiceError, UnknownNameError

TASKS = ("classification", "gender", "age", "re-identification")


def check_name(task: str) -> None:
    """Raise UnknownNameError for a name that no task has, and MissingExtraError where this one lacks a package."""
    if task not in TASKS:
        raise UnknownNameError(f"{task!r} is no task: choose from {', '.join(TASKS)}")
    if task == ReIdentification.name:
        ReIdentification()


def objective_for(task: str, classes: tuple[str, ...]) -> Objective:
    """The objective of a task of this name, for photos of these classes.

    Raises UnknownNameError for another name, ChoiceError for classes that do not suit it, MissingExtraError.
    """
    check_name(task)
    if task == "age":
        return Age.of(classes)
    if task == "re-identification":
        return ReIdentification()
    if task == "gender" and len(classes) != 2:
        raise ChoiceError(f"--task gender tells two classes apart, and there are {len(classes)}: {', '.join(classes)}")
    return Gender() if task == "gender" else Classification()
