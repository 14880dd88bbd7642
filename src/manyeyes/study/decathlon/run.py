"""Run methods on domains, side by side on the machine's cores, and keep every result as soon as it is there."""

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import joblib
import numpy as np
import torch

from manyeyes.adapt.adapting import Course, open_bank
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.compress import compressed
from manyeyes.adapt.domain_file import load_domains, save_domains
from manyeyes.adapt.training.loop import train
from manyeyes.adapt.training.pixels import open_photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.start import SURENESS
from manyeyes.adapt.training.task import DomainTask, RoundRobin, score
from manyeyes.backbones.card import Card
from manyeyes.experts.folds import Rows
from manyeyes.home import cache_home
from manyeyes.study.decathlon.domains import DomainPhotos
from manyeyes.study.decathlon.methods import COMPRESSED, RATES, SCRATCH_EPOCHS, Method, learn
from manyeyes.threads import cores, one_thread
from manyeyes.version import __version__
from manyeyes.writing import written_whole

# Few photos are passed over so often that there are so many steps.
LEAST_STEPS = 60


@dataclass(frozen=True)
class Result:
    """What a method came to in one domain.

    per_class : at most so many photos of a class were trained on; 0 for all that the domain gives. accuracy, loss : on
    the photos to judge by. own : parameters that the domain adds or changes, without the head; shared : those it shares
    with other domains. seconds : of one core's time, for training.
    """

    method: Method
    domain: str
    seed: int
    per_class: int
    accuracy: float
    loss: float
    own: int
    shared: int
    seconds: float
    trained_on: int
    judged: int


@dataclass(frozen=True)
class Race:
    """What is run: ``methods`` on ``domains`` from the backbone of ``card``, once for each of ``seeds``.

    per_class : numbers of photos a class to train on; 0 for all that the domains give. budget : see
    :func:`manyeyes.adapt.plan.within_budget`. keep : see :func:`manyeyes.adapt.compress.compressed`.
    """

    card: Card
    domains: Sequence[DomainPhotos]
    methods: Sequence[Method]
    seeds: Sequence[int] = (0,)
    per_class: Sequence[int] = (0,)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10))
    budget: float = 1.1
    keep: float = 1.0
    accept_undeclared_licence: bool = False


def run(race: Race, work: Path, tell: Callable[[int], None] = lambda _: None) -> list[Result]:
    """All results, each kept in the folder ``work`` as soon as it is there: a run that was stopped goes on there.

    Each domain, seed and number of photos is a process of its own on one core (on a GPU they come one by one). ``tell``
    hears how many more results there are.
    """
    work.mkdir(parents=True, exist_ok=True)
    heats = [_Heat(race, seed, per_class, work) for per_class in race.per_class for seed in race.seeds]
    single = [joblib.delayed(_run_domain)(heat, domain) for heat in heats for domain in race.domains]
    together = [joblib.delayed(_run_compressed)(heat) for heat in heats] if COMPRESSED in race.methods else []
    jobs = 1 if torch.cuda.is_available() else cores()
    results: list[Result] = []
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        for calls in (single, together):
            for found in joblib.Parallel(return_as="generator_unordered")(calls):
                results += found
                tell(len(found))
    names, methods = [one.name for one in race.domains], list(race.methods)
    wanted = [one for one in results if one.method in methods]
    return sorted(wanted, key=lambda one: (names.index(one.domain), methods.index(one.method), one.seed, one.per_class))


def work_folder(race: Race) -> Path:
    """Where the results of this very race are kept, in the user's cache. Photos are known by their paths."""
    photos = [(one.name, one.photos.paths, one.photos.splits, one.train, one.size, one.flip) for one in race.domains]
    limits = [(one.most_per_class, one.most_judged, one.photos.groups) for one in race.domains]
    rules = [RATES, SCRATCH_EPOCHS, LEAST_STEPS, SURENESS, __version__]
    identity = [race.card.to_dict(), race.recipe.to_dict(), race.budget, race.keep, photos, limits, rules]
    return cache_home() / "decathlon" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Heat:
    """What is run with one drawing of the photos, and the files that keep what came of it."""

    race: Race
    seed: int
    per_class: int
    work: Path

    @property
    def alone(self) -> list[Method]:
        """Methods that take one domain at a time. Compression wants the parallel adapters of all of them."""
        methods: list[Method] = [method for method in self.race.methods if method != COMPRESSED]
        return methods if "parallel" in methods or COMPRESSED not in self.race.methods else [*methods, "parallel"]

    def open_bank(self, size: int) -> DomainBank:
        return open_bank(self.race.card, size, self.race.accept_undeclared_licence)[0]

    def photos(self, domain: DomainPhotos) -> tuple[Course, Rows]:
        """What is trained on, nothing held out; and the rows to judge by."""
        learnt, judged = domain.split(self.seed, self.per_class)
        preprocessing = self.race.card.preprocessing.at(domain.size)
        opened = open_photos([*learnt.paths, *judged.paths], [*learnt.labels, *judged.labels], preprocessing)
        every = np.arange(len(opened.photos))
        train, rest = np.split(every, [int(opened.is_good[: len(learnt)].sum())])
        return Course(domain.name, opened.photos, train, every[:0]), rest

    def recipe(self, domain: DomainPhotos, course: Course) -> Recipe:
        recipe = self.race.recipe.with_steps(LEAST_STEPS, len(course.train))
        return dataclasses.replace(recipe, seed=self.seed, flip=domain.flip)

    def file(self, method: Method, domain: str, suffix: str = ".json") -> Path:
        readable = re.sub(r"[^\w.-]", "_", domain)  # a domain may be called anything
        digest = hashlib.sha256(domain.encode()).hexdigest()[:6]
        return self.work / f"{method}-{readable}-{digest}-{self.seed}-{self.per_class}{suffix}"

    def lacks(self, method: Method, domain: DomainPhotos) -> bool:
        return not self.file(method, domain.name).exists()

    def known(self, method: Method, domain: DomainPhotos) -> Result:
        return Result(**json.loads(self.file(method, domain.name).read_text(encoding="utf-8")))

    def judge(
        self, method: Method, bank: DomainBank, course: Course, judged: Rows, own: int, shared: int, seconds: float
    ) -> None:
        """Judge a domain, once, and keep the result."""
        found = score(bank, course.name, course.photos, judged)
        result = Result(
            method=method,
            domain=course.name,
            seed=self.seed,
            per_class=self.per_class,
            accuracy=found.accuracy,
            loss=found.loss,
            own=own,
            shared=shared,
            seconds=seconds,
            trained_on=len(course.train),
            judged=len(judged),
        )
        with written_whole(self.file(method, course.name)) as hidden:
            hidden.write_text(json.dumps(asdict(result)), encoding="utf-8")


def _run_domain(heat: _Heat, domain: DomainPhotos) -> list[Result]:
    """Every method but the compressed."""
    lacking = [method for method in heat.alone if heat.lacks(method, domain)]
    if lacking:
        with one_thread():
            course, judged = heat.photos(domain)
            for method in lacking:
                bank = heat.open_bank(domain.size)
                start = time.process_time()
                learn(method, bank, course, heat.recipe(domain, course), heat.race.budget)
                seconds = time.process_time() - start
                if method == "parallel":
                    save_domains(bank, heat.race.card, "", heat.file(method, domain.name, ".safetensors"), {})
                heat.judge(method, bank, course, judged, _own(method, bank, domain.name), 0, seconds)
    return [heat.known(method, domain) for method in heat.alone]


def _run_compressed(heat: _Heat) -> list[Result]:
    """The parallel adapters of all domains, compressed together and trained on for as long again.

    With a third of that, compression costs 3.5 points instead of 0.6 (flowers17, trashnet6 and signdigits10).
    """
    domains = heat.race.domains
    if any(heat.lacks(COMPRESSED, one) for one in domains):
        with one_thread():
            bank = heat.open_bank(max(one.size for one in domains))
            for domain in domains:
                load_domains(heat.file("parallel", domain.name, ".safetensors"), bank)
            seen = [heat.photos(domain) for domain in domains]
            start = time.process_time()
            for name, compact in compressed({name: bank[name] for name in bank.names}, heat.race.keep).items():
                bank.put(name, compact)
            recipes = [heat.recipe(domain, course) for domain, (course, _) in zip(domains, seen, strict=True)]
            tasks = [
                DomainTask(bank, course.name, course.photos, course.train, course.held, recipe)
                for (course, _), recipe in zip(seen, recipes, strict=True)
            ]
            train(RoundRobin(tasks), dataclasses.replace(heat.race.recipe, seed=heat.seed), None, "compressed adapters")
            seconds = (time.process_time() - start) / len(domains)
            shared = bank.shared_size()
            for course, judged in seen:
                heat.judge(COMPRESSED, bank, course, judged, bank.domain_size(course.name) - shared, shared, seconds)
    return [heat.known(COMPRESSED, one) for one in domains]


def _own(method: Method, bank: DomainBank, name: str) -> int:
    """Parameters that a domain adds or changes, less its head's."""
    if method == "feature":
        return 0
    return bank.backbone_size() if method in ("scratch", "full") else bank.domain_size(name)
