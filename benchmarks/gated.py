"""Gated transfer beside plain fine-tuning, and a gate over frozen features beside the plain softmax regression.

    python benchmarks/gated.py DOMAINS.toml --only flowers17,trashnet6,photo --seeds 3 -o docs/results/gated.md

DOMAINS.toml is that of `manyeyes decathlon`. Every variant has the same photos, the same number of epochs, and is
judged once, after the last, on photos that have no part in anything.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from paired import sign_test, spread
from record import keep, table

from manyeyes.adapt.adapting import Course, adapt, open_bank
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.gated_transfer import AUXILIARY, first_phase, published
from manyeyes.adapt.gating import Gating
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.pixels import open_photos
from manyeyes.adapt.training.recipe import BODY_RATE, Recipe
from manyeyes.adapt.training.task import features, log_probabilities
from manyeyes.backbones.zoo import read_zoo
from manyeyes.experts.gated import GatedSoftmax
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.study.decathlon.domains import DomainPhotos, read_domains
from manyeyes.threads import cores, one_thread

LEAST_STEPS = 60
Change = Callable[[Recipe], Recipe]
FULL, GATED = Plan("full"), Plan("full", gating=Gating())
STATIC = Plan("full", gating=Gating(static=True))


def with_auxiliary(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, auxiliary=AUXILIARY)


def in_two_phases(recipe: Recipe) -> Recipe:
    return dataclasses.replace(with_auxiliary(recipe), frozen=first_phase(recipe.epochs))


def as_published(gated: bool) -> tuple[Plan, Change]:
    plan, _ = published()

    def of(ours: Recipe) -> Recipe:
        _, theirs = published(ours.epochs)
        return dataclasses.replace(theirs, seed=ours.seed, flip=ours.flip, auxiliary=AUXILIARY if gated else 0.0)

    return dataclasses.replace(plan, gating=plan.gating if gated else None), of


# What is trained, by its name: a plan, and what becomes of the recipe.
VARIANTS: dict[str, tuple[Plan, Change]] = {
    "fine-tuning": (FULL, lambda recipe: recipe),
    "+ gate": (GATED, lambda recipe: recipe),
    "+ auxiliary": (FULL, with_auxiliary),
    "+ gate + auxiliary": (GATED, with_auxiliary),
    "+ static gate": (STATIC, lambda recipe: recipe),
    "+ static gate + auxiliary": (STATIC, with_auxiliary),
    "+ gate + auxiliary, two phases": (GATED, in_two_phases),
    "published recipe, fine-tuning": as_published(gated=False),
    "published recipe, gate + auxiliary": as_published(gated=True),
}
EXPERTS = {
    "softmax on frozen features": SoftmaxRegression(),
    "gated softmax": GatedSoftmax(),
    "gated softmax, static": GatedSoftmax(static=True),
}
# Whom each is measured against.
RIVALS = {name: "fine-tuning" for name in VARIANTS if name.startswith("+")} | {
    "published recipe, gate + auxiliary": "published recipe, fine-tuning",
    "gated softmax": "softmax on frozen features",
    "gated softmax, static": "softmax on frozen features",
}
# And some others.
PAIRS = {"+ gate": "+ static gate", "+ gate + auxiliary": "+ static gate + auxiliary"}


@dataclass(frozen=True)
class Run:
    """right : of each photo to judge by. seconds : of one core, for training. own : parameters that a domain has, its
    head aside."""

    name: str
    domain: str
    seed: int
    right: list[bool]
    seconds: float
    own: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", type=Path)
    parser.add_argument("--only", default="", help="Some of the file's domains.")
    parser.add_argument("--variants", nargs="*", default=[], help="Some of the variants.")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    found = read_domains(arguments.domains)
    domains = chosen(found, arguments.only.split(",") if arguments.only else [], lambda one: one.name)
    names = chosen([*VARIANTS, *EXPERTS], arguments.variants, str)
    calls = [
        joblib.delayed(run)(names, domain, seed, arguments.backbone, arguments.epochs)
        for seed in range(arguments.seeds)
        for domain in domains
    ]
    runs: list[Run] = []
    with joblib.parallel_config("loky", n_jobs=cores(), inner_max_num_threads=1):
        for some in joblib.Parallel(return_as="generator_unordered")(calls):
            for one in some:
                print(f"{one.domain} {one.seed} {one.name}: {np.mean(one.right):.1%}, {one.seconds:.0f} s", flush=True)
            runs += some
    figures = [dataclasses.asdict(one) | {"right": float(np.mean(one.right))} for one in runs]
    keep(arguments.output, "Gated transfer", {"runs": figures}, text(runs, arguments, domains))


def chosen(known: list, named: list[str], name_of: Callable) -> list:
    """Those that are named, or all."""
    if strange := set(named) - {name_of(one) for one in known}:
        raise SystemExit(f"unknown: {', '.join(sorted(strange))}")
    return [one for one in known if not named or name_of(one) in named]


def run(names: list[str], domain: DomainPhotos, seed: int, backbone: str, epochs: int) -> list[Run]:
    """Each variant on one drawing of a domain's photos, by one core."""
    card = read_zoo(backbone)[0]
    learnt, judged = domain.split(seed)
    preprocessing = card.preprocessing.at(domain.size)
    with one_thread():
        opened = open_photos([*learnt.paths, *judged.paths], [*learnt.labels, *judged.labels], preprocessing)
        every = np.arange(len(opened.photos))
        train, rest = np.split(every, [int(opened.is_good[: len(learnt)].sum())])
        course = Course(domain.name, opened.photos, train, every[:0])
        runs = []
        for name in names:
            bank, _ = open_bank(card, domain.size)
            is_right, seconds = trained(name, bank, course, rest, seed, epochs, domain.flip)
            own = bank.domain_size(domain.name) if name in VARIANTS else 0
            runs.append(Run(name, domain.name, seed, is_right.tolist(), seconds, own))
    return runs


def trained(
    name: str, bank: DomainBank, course: Course, rest: np.ndarray, seed: int, epochs: int, flip: bool
) -> tuple[np.ndarray, float]:
    """Which photos a variant is right about, and how many seconds its training took, without looking at them."""
    labels = course.photos.labels
    if name in EXPERTS:
        seen = features(bank, None, course.photos, np.arange(len(labels))).numpy()
        start = time.process_time()
        expert = EXPERTS[name].set_params(random_state=seed).fit(seen[course.train], labels[course.train])
        return expert.predict(seen[rest]) == labels[rest], time.process_time() - start
    plan, change = VARIANTS[name]
    recipe = Recipe(epochs=epochs, flip=flip, seed=seed).all_at(BODY_RATE).with_steps(LEAST_STEPS, len(course.train))
    start = time.process_time()
    adapt(bank, [course], plan, change(recipe))
    seconds = time.process_time() - start
    said = log_probabilities(bank, course.name, course.photos, rest).argmax(dim=1).numpy()
    return said == labels[rest], seconds


def text(runs: list[Run], arguments: argparse.Namespace, domains: list[DomainPhotos]) -> str:
    names = [name for name in (*VARIANTS, *EXPERTS) if any(one.name == name for one in runs)]
    rows = []
    for name in names:
        mine = [one for one in runs if one.name == name]
        cells = [spread([np.mean(one.right) for one in mine if one.domain == domain.name]) for domain in domains]
        by_seed = [np.mean([np.mean(one.right) for one in mine if one.seed == seed]) for seed in range(arguments.seeds)]
        own = f"{np.mean([one.own for one in mine]) / 1e6:.2f}" if name in VARIANTS else ""
        rival = [one for one in runs if one.name == RIVALS.get(name)]
        more = [more_of(mine, rival, "own") if own else "", more_of(mine, rival, "seconds")] if rival else ["", ""]
        seconds = sum(one.seconds for one in mine) / arguments.seeds
        rows.append([name, *cells, spread(by_seed), against(runs, name), own, more[0], f"{seconds:.0f}", more[1]])
    sizes = ", ".join(f"{one.name} at {one.size} pixels" for one in domains)
    return "\n\n".join(
        [
            f"{arguments.backbone}, {sizes}. Accuracy in %, mean ± standard deviation over {arguments.seeds} draws of "
            f"the photos. All are trained for {arguments.epochs} epochs or {LEAST_STEPS} steps, whichever is more. "
            "*Against*: its rival without a gate and without an auxiliary classifier, in points over all photos, with "
            "a sign test by photo, which takes another draw for other photos. *Parameters*: of a domain in millions, "
            "its head aside. *Seconds*: of one core's time, to train all of these domains. Both with the share that "
            "is more than the rival's.",
            table(["", *(one.name for one in domains), "mean", "against", "parameters", "", "seconds", ""], rows),
            *(
                f"{name} against {rival}: {found}."
                for name, rival in PAIRS.items()
                if (found := difference(runs, name, rival))
            ),
        ]
    )


def more_of(mine: list[Run], rival: list[Run], what: str) -> str:
    ratio = sum(getattr(one, what) for one in mine) / sum(getattr(one, what) for one in rival)
    return f"{100 * (ratio - 1):+.0f}%"


def against(runs: list[Run], name: str) -> str:
    return difference(runs, name, RIVALS[name]) if name in RIVALS else ""


def difference(runs: list[Run], name: str, rival: str) -> str:
    by_key = {(one.name, one.domain, one.seed): one.right for one in runs}
    keys = [(domain, seed) for other, domain, seed in by_key if other == name]
    if not keys or not any(one.name == rival for one in runs):
        return ""
    mine, theirs = (np.concatenate([by_key[one, *key] for key in keys]) for one in (name, rival))
    return sign_test(mine, theirs)


if __name__ == "__main__":
    main()
