"""The methods of the papers' tables, each from the backbone's weights to a network that knows one domain."""

import dataclasses
from typing import Literal

import torch
from torch import nn

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.plan import Method as AdapterMethod
from manyeyes.adapt.plan import Plan, within_budget
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.recipe import BODY_RATE, Recipe
from manyeyes.adapt.training.start import fit_head
from manyeyes.adapt.training.task import DomainTask

Method = Literal["scratch", "feature", "norms", "full", "series", "parallel", "parallel-svd"]
TITLES: dict[Method, str] = {
    "scratch": "from scratch",
    "feature": "frozen features",
    "norms": "norms only",
    "full": "full fine-tuning",
    "series": "series adapters",
    "parallel": "parallel adapters",
    "parallel-svd": "parallel, compressed",
}
COMPRESSED: Method = "parallel-svd"
# Share of the rate at which everything is trained, chosen on flowers17, trashnet6 and signdigits10 with 10 to 60 photos
# a class.
RATES: dict[Method, float] = {"scratch": 0.7, "full": BODY_RATE}
# A network that begins with nothing wants more passes.
SCRATCH_EPOCHS = 2


def plan_for(method: Method, bank: DomainBank, budget: float) -> Plan:
    """Adapters of a method, within ``budget`` times the backbone's parameters."""
    if method in ("scratch", "full"):
        return Plan("full", statistics="own" if method == "scratch" else "source")
    if method not in ("series", "parallel"):
        return Plan("norms")
    adapters: AdapterMethod = "series" if method == "series" else "parallel"
    return within_budget(Plan(adapters), bank.sites, budget, bank.backbone_size(), bank.norms_size())


def learn(method: Method, bank: DomainBank, course: Course, recipe: Recipe, budget: float) -> None:
    """Add to the bank, whose backbone is as it came, what a method makes of a course.

    Training from scratch begins with another backbone.
    """
    if method in RATES:  # all at one rate
        recipe = recipe.all_at(RATES[method])
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if method == "scratch":
            _forget(bank)
            recipe = dataclasses.replace(recipe, epochs=recipe.epochs * SCRATCH_EPOCHS)
        bank.put_new(course.name, course.photos.classes, plan_for(method, bank, budget))
    if method == "feature":
        return fit_head(bank, course.name, course.photos, course.train, recipe.seed, sureness=1.0)
    if method != "scratch":
        fit_head(bank, course.name, course.photos, course.train, recipe.seed)
    task = DomainTask(bank, course.name, course.photos, course.train, course.held, recipe)
    train(task, recipe, None, f"{course.name}: {TITLES[method]}")


def _forget(bank: DomainBank) -> None:
    """Give the backbone random weights."""
    for module in bank.network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):
            module.reset_parameters()
