"""A training that was stopped goes on where it was: everything it needs for that, in one safe file."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from manyeyes.errors import AdaptError
from manyeyes.writing import written_whole

State = dict[str, Tensor]
CLOSED = "closed"


@dataclass
class Checkpoint:
    """How far a training has come.

    epoch, step : what comes next. learnt : the state of what is trained. best : that after the best epoch, None where
    nothing is judged. optimiser : each parameter's tensors by number and name, ``0.momentum_buffer``. numbers : the
    history of the losses and all else that is no tensor.
    """

    epoch: int
    step: int
    learnt: State
    optimiser: State
    best: State | None = None
    numbers: dict[str, Any] = field(default_factory=dict)


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write it, whole or not at all. Raises AdaptError when it cannot be written."""
    parts = {"learnt": checkpoint.learnt, "best": checkpoint.best or {}, "optimiser": checkpoint.optimiser}
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for part, state in parts.items()
        for name, tensor in state.items()
    }
    header = json.dumps({"epoch": checkpoint.epoch, "step": checkpoint.step, "numbers": checkpoint.numbers})
    try:
        with written_whole(path) as hidden:
            save_file(tensors, hidden, metadata={"training": header})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AdaptError(f"the checkpoint {path} cannot be written: {reason}") from None


def read(path: Path) -> Checkpoint | None:
    """What was written; None where nothing was. Raises AdaptError for a file that is none of ours."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["training"])
            parts: dict[str, State] = {"learnt": {}, "best": {}, "optimiser": {}}
            for key in file.keys():  # noqa: SIM118
                part, _, name = key.partition("/")
                parts[part][name] = file.get_tensor(key)
        learnt, best, optimiser = parts["learnt"], parts["best"] or None, parts["optimiser"]
        return Checkpoint(header["epoch"], header["step"], learnt, optimiser, best, header["numbers"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AdaptError(f"{path} is no checkpoint of a training: delete it to begin anew ({error})") from None


def close(path: Path) -> None:
    """Of a training that is over, keep what was learnt, without what it would have been gone on with."""
    found = read(path)
    if found is not None and not found.numbers.get(CLOSED):
        numbers = found.numbers | {CLOSED: True}
        write(replace(found, learnt=found.best or found.learnt, best=None, optimiser={}, numbers=numbers), path)


def is_closed(path: Path) -> bool:
    """Whether a training is over whose checkpoint lies there."""
    found = read(path)
    return found is not None and bool(found.numbers.get(CLOSED))


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """The optimiser's tensors, by number of the parameter and name."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: State) -> None:
    """Give an optimiser with the same groups the tensors of another."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
