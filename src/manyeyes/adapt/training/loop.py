"""The loop: steps down the gradient, judged after each epoch by photos held out, and gone on with after a kill.

What a step does depends on the recipe's seed and on the numbers of the epoch and the step alone, so a run that was
stopped and one that was not come out the same, bit for bit (on the same kind of machine, with as many threads).
"""

import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast
from torch import Tensor, nn

from manyeyes.adapt.tasks.objective import UNLABELLED, Score
from manyeyes.adapt.training import checkpoint as checkpoints
from manyeyes.adapt.training.checkpoint import Checkpoint, State
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import Task
from manyeyes.errors import AdaptError
from manyeyes.progress import watching

# Seconds between two checkpoints within an epoch; there is always one after it.
EVERY = 60.0


@dataclass(frozen=True)
class Training:
    """epochs : how many were run. best : after how many the network was as it was left; 0 means as it began. history :
    of each epoch, its number, the mean loss and share of right classes in training, and ``held``, the score on held-out
    photos, if any. held : the best of these. checkpoint : the file that the training would be gone on from, if it was
    given one.
    """

    epochs: int
    best: int
    history: tuple[dict[str, Any], ...]
    held: Score | None
    checkpoint: Path | None


def train(task: Task, recipe: Recipe, checkpoint: Path | None = None, what: str = "training") -> Training:
    """Train until the recipe's epochs are over, or its patience with the held-out loss.

    With held-out photos the network is left as it was after its best epoch by them, else as after the last. A
    ``checkpoint`` that exists is gone on from; it stays until its owner deletes it. Several devices share each batch
    when the program was started by ``accelerate launch``. Raises AdaptError when a loss is no number.
    """
    with torch.random.fork_rng():
        run = _Run(task, recipe, checkpoint)
        try:
            with watching(what, recipe.epochs * task.steps) as advance:
                advance(run.epoch * task.steps + run.step, "")
                while run.epoch < recipe.epochs and run.epoch - max(run.best_epoch, recipe.frozen) < run.patience:
                    task.begin(run.epoch)
                    while run.step < task.steps:
                        advance(1, run.train_step())
                    run.end_epoch()
        finally:
            task.begin(max(run.epoch, recipe.frozen))  # however it ends, nothing stays frozen
    return run.end()


class _Run:
    """A training on its way. ``epoch`` and ``step`` are those that come next."""

    def __init__(self, task: Task, recipe: Recipe, path: Path | None) -> None:
        self._task, self._recipe, self._path = task, recipe, path
        # Of several domains only those in a step's batch get gradients.
        self._accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
        task.module.to(self._accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = _optimiser(task.groups(), recipe)
        self._module: nn.Module
        self._module, self._stepper = self._accelerator.prepare(task.module, self._optimiser)
        self.epoch = self.step = self.best_epoch = 0
        self._history: list[dict[str, Any]] = []
        self._sums = [0.0] * 4  # of losses, photos, right answers and labelled photos in this epoch
        self._best: State | None = None
        self._held: Score | None = None
        self._saved = time.monotonic()
        found = checkpoints.read(path) if path else None
        if found:
            self._go_on(found)
        elif (start := task.judge()) is not None:
            self._held, self._best = start, self._learnt()
        self.patience = recipe.patience if self._held else recipe.epochs + 1
        task.module.train()

    def train_step(self) -> str:
        """One step; words on how it goes."""
        task, accelerator = self._task, self._accelerator
        torch.manual_seed(hash((self._recipe.seed, self.epoch, self.step)))
        rate = self._recipe.rate_at(self.epoch + (self.step + 1) / task.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share_of_rate"] * (self.epoch >= group["from_epoch"])
        batch = task.batch(self.epoch, self.step)
        batch = batch.share(accelerator.process_index, accelerator.num_processes).to(accelerator.device)
        mixed = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16")
        with mixed:
            loss, right = task.loss(self._module, batch)
        self._note(loss, right, batch.labels)
        accelerator.backward(loss)
        if self._recipe.clip:
            accelerator.clip_grad_norm_(
                (one for group in self._optimiser.param_groups for one in group["params"]), self._recipe.clip
            )
        self._stepper.step()
        self._stepper.zero_grad()
        self.step += 1
        if time.monotonic() - self._saved > EVERY:
            self._save()
        loss_so_far, accuracy = self._means()
        words = f"epoch {self.epoch + 1}  loss {loss_so_far:.3f}"
        words += f"  {accuracy:.1%} right" if self._sums[3] else ""  # of photos without labels nobody knows
        return words + self._words_on_held()

    def end_epoch(self) -> None:
        """Judge what this epoch has come to."""
        self._agree()
        loss, accuracy = self._means()
        self.epoch, self.step, self._sums = self.epoch + 1, 0, [0.0] * 4
        record: dict[str, Any] = {"epoch": self.epoch, "loss": loss, "accuracy": accuracy}
        if (held := self._task.judge()) is not None:
            record["held"] = asdict(held)
            if self._held is None or held.loss < self._held.loss:
                self._held, self._best, self.best_epoch = held, self._learnt(), self.epoch
        self._history.append(record)
        self._save()

    def _agree(self) -> None:
        """Let all processes have the first one's running statistics, so that they judge alike and end together."""
        if self._accelerator.num_processes > 1:
            for buffer in self._task.learnt.buffers():
                broadcast(buffer, from_process=0)

    def end(self) -> Training:
        if self._best is not None:
            self._task.learnt.load_state_dict(self._best)
        self._task.module.eval()
        best = self.epoch if self._best is None else self.best_epoch
        return Training(self.epoch, best, tuple(self._history), self._held, self._path)

    def _note(self, loss: Tensor, right: Tensor, labels: Tensor) -> None:
        value, photos, labelled = float(loss.detach()), len(labels), float((labels != UNLABELLED).sum())
        if not value < float("inf"):
            raise AdaptError(
                f"the loss is {value} in epoch {self.epoch + 1}: the rate {self._recipe.rate:g} may be too high"
            )
        for index, number in enumerate((value * photos, photos, float(right), labelled)):
            self._sums[index] += number

    def _means(self) -> tuple[float, float]:
        """Loss and accuracy of this epoch so far."""
        losses, photos, right, labelled = self._sums
        return losses / photos, right / max(labelled, 1)

    def _words_on_held(self) -> str:
        return f"  held out {self._task.words(self._held.metrics)}" if self._held and self._held.metrics else ""

    def _learnt(self) -> State:
        return deepcopy(self._task.learnt.state_dict())

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._path is None or not self._accelerator.is_main_process:
            return
        numbers = {
            "history": self._history,
            "sums": self._sums,
            "best_epoch": self.best_epoch,
            "held": asdict(self._held) if self._held else None,
        }
        learnt, optimiser = self._task.learnt.state_dict(), checkpoints.optimiser_state(self._optimiser)
        checkpoints.write(Checkpoint(self.epoch, self.step, learnt, optimiser, self._best, numbers), self._path)

    def _go_on(self, found: Checkpoint) -> None:
        try:
            self._task.learnt.load_state_dict(found.learnt)
            checkpoints.restore_optimiser(self._optimiser, found.optimiser)
            self._history, self._sums = found.numbers["history"], found.numbers["sums"]
            self.best_epoch, held = found.numbers["best_epoch"], found.numbers["held"]
            self._held = Score(**held) if held else None
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise AdaptError(f"{self._path} is of another training: delete it to begin anew ({error})") from None
        self.epoch, self.step, self._best = found.epoch, found.step, found.best


def _optimiser(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate)
    is_nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=is_nesterov)
