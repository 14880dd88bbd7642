"""``manyeyes adapt``: a backbone made to fit photos, for a few per cent of its size."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyeyes.cli.adapt_courses import Reading, read_courses, say_score
from manyeyes.cli.adapt_plan import check_task, chosen, chosen_supernet, published, refuse_supernet
from manyeyes.cli.adapt_supernet import adapt_supernet
from manyeyes.cli.gate_figure import check_figure, draw
from manyeyes.cli.options import (
    AcceptUndeclared,
    MaxRejected,
    Offline,
    Quiet,
    Verbose,
    one_card,
    read_budget,
)

if TYPE_CHECKING:
    from manyeyes.adapt.bank import DomainBank

# Panels of the help.
WHAT, GATES, HOW = "What is added to the backbone", "Gates over its features", "How it is trained"
SMALLER = "A smaller network inside the backbone (--method supernet)"


def adapt(
    ctx: typer.Context,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS...", help="Folders with a folder for each class, or manifests.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Where to write what was learnt: domain.safetensors; a folder for a smaller network."
        ),
    ],
    backbone: Annotated[str, typer.Option(help="A card, or a source such as timm:NAME.")] = "efficientnet-lite0",
    task: Annotated[
        str,
        typer.Option(
            help="classification; gender or age, from class folders or UTKFace's names; or re-identification, from a "
            "folder for each identity or Market-1501's."
        ),
    ] = "classification",
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Photos of the place of use, whose labels nobody knows or looks at: classification fits itself to it.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            rich_help_panel=WHAT,
            help="parallel, series or lowrank adapters; norms: only these are trained; full: all weights are; gated: "
            "full, with a gate over the features; or parallel+gated and the like. supernet: a smaller network inside "
            "the backbone is found; search: the same again within another budget, without tuning again.",
        ),
    ] = "parallel",
    adapters: Annotated[
        str,
        typer.Option(
            rich_help_panel=WHAT, help="Which thirds of the backbone get adapters: all, or some of early,mid,late."
        ),
    ] = "all",
    rank: Annotated[
        str,
        typer.Option(
            rich_help_panel=WHAT, help="Rank of adapters that are not full: a number, or early=4,mid=8,late=16."
        ),
    ] = "8",
    budget: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=WHAT,
            help="Instead of a rank: backbone and domain as a multiple of the backbone's parameters, 1.1x.",
        ),
    ] = None,
    statistics: Annotated[
        str,
        typer.Option(
            rich_help_panel=WHAT,
            help="By which norms of a batch normalise in training: source, or own, which wants many photos.",
        ),
    ] = "source",
    gate_at: Annotated[
        str,
        typer.Option(
            rich_help_panel=GATES,
            help="pooled: at the features; map: at the map that the last stage ends with; stages: after every stage.",
        ),
    ] = "pooled",
    gate_start: Annotated[
        str,
        typer.Option(
            rich_help_panel=GATES, help="identity: features begin as they came; paper: at about half of that."
        ),
    ] = "identity",
    static_gate: Annotated[
        bool, typer.Option("--static-gate", rich_help_panel=GATES, help="The same weights for every photo.")
    ] = False,
    sparsity: Annotated[
        float, typer.Option(rich_help_panel=GATES, help="What the mean weight of a feature costs.")
    ] = 0.0,
    auxiliary: Annotated[
        float,
        typer.Option(
            rich_help_panel=GATES,
            help="Weight of the loss of a classifier on the penultimate stage, in training only; 0.2 as published.",
        ),
    ] = 0.0,
    frozen: Annotated[
        int,
        typer.Option(
            min=0,
            rich_help_panel=GATES,
            help="Epochs at first in which only gates and heads are trained; a fifth of them as published.",
        ),
    ] = 0,
    faithful: Annotated[
        bool,
        typer.Option(
            "--faithful",
            rich_help_panel=GATES,
            help="Gated transfer as the published code does it, quirks included; other options change it.",
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=GATES, help="Draw what the gate over the features says, as this .svg and a .png beside it."
        ),
    ] = None,
    macs: Annotated[
        str,
        typer.Option(
            rich_help_panel=SMALLER,
            help="What it may take for a photo: a share of the backbone's multiply-accumulates, 0.5x, or 150M.",
        ),
    ] = "0.5x",
    tuned: Annotated[
        str,
        typer.Option(
            rich_help_panel=SMALLER,
            help="What learns while all paths are tuned: full, all weights; or parallel, lowrank or norms.",
        ),
    ] = "full",
    source: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=SMALLER,
            metavar="FOLDER",
            help="Any other photos, the more the better: on them all paths first learn to see what the backbone sees.",
        ),
    ] = None,
    source_labels: Annotated[
        bool,
        typer.Option(
            "--source-labels", rich_help_panel=SMALLER, help="Let them learn the classes of the source instead."
        ),
    ] = False,
    self_supervised: Annotated[
        bool,
        typer.Option(
            "--self-supervised",
            rich_help_panel=SMALLER,
            help="No label is looked at while paths are tuned: they learn to see what the backbone sees.",
        ),
    ] = False,
    linear: Annotated[
        bool,
        typer.Option(
            "--linear", rich_help_panel=SMALLER, help="Judge paths by a ridge regression on their features alone."
        ),
    ] = False,
    population: Annotated[int, typer.Option(min=4, rich_help_panel=SMALLER, help="Paths of a generation.")] = 24,
    generations: Annotated[int, typer.Option(min=1, rich_help_panel=SMALLER, help="Of the search.")] = 10,
    size: Annotated[
        int | None, typer.Option(min=16, rich_help_panel=WHAT, help="Side of the photos. [default: the backbone's]")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=WHAT,
            help="A file of domains to add to; where these share a factor, the new one shares it as it is.",
        ),
    ] = None,
    compress: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=WHAT,
            help="Of several domains: let them share a factor, of this share of the adapters' rank.",
        ),
    ] = None,
    fold: Annotated[
        Path | None,
        typer.Option(help="Also write the backbone with the domain folded in, to be named local:FOLDER in any zoo."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, rich_help_panel=HOW, help="Passes over the photos at most.")] = 30,
    patience: Annotated[
        int, typer.Option(min=1, rich_help_panel=HOW, help="Stop after so many epochs without a gain.")
    ] = 8,
    rate: Annotated[float, typer.Option(rich_help_panel=HOW, help="The rate of learning.")] = 0.003,
    batch: Annotated[int, typer.Option(min=1, rich_help_panel=HOW, help="Photos in a step.")] = 32,
    optimiser: Annotated[str, typer.Option(rich_help_panel=HOW, help="adamw or sgd.")] = "adamw",
    schedule: Annotated[
        str, typer.Option(rich_help_panel=HOW, help="How the rate falls: cosine, step or constant.")
    ] = "cosine",
    warm_up: Annotated[float, typer.Option(rich_help_panel=HOW, help="Epochs in which it first rises.")] = 1.0,
    clip: Annotated[
        float, typer.Option(rich_help_panel=HOW, help="Largest norm of a step's gradients; 0 for any.")
    ] = 5.0,
    decay: Annotated[
        float | None, typer.Option(rich_help_panel=HOW, help="Weight decay. [default: by the number of photos a class]")
    ] = None,
    dropout: Annotated[
        float, typer.Option(rich_help_panel=HOW, help="Share of the channels that adapters do not see in training.")
    ] = 0.0,
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", rich_help_panel=HOW, help="Whether photos may be mirrored.")
    ] = True,
    precision: Annotated[str, typer.Option(rich_help_panel=HOW, help="fp32, or bf16 for mixed precision.")] = "fp32",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, rich_help_panel=HOW, help="The same seed gives the same domain.")
    ] = 0,
    max_rejected: MaxRejected = 0.2,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Adapt a backbone to photos, leaving its own weights as they are.

    What is learnt (small adapters, norms, gates and a head; or weights anew) goes into one file. An eighth of the
    photos (or the split `val`; of re-identification, an eighth of the people) is held out to say when to stop; a split
    `test` is only judged, once, in the end. A run that is stopped goes on when the command is given again. Several
    PHOTOS become domains of one bank, trained by turns.
    """
    from manyeyes.adapt.adapting import HELD, go_on, load_bank, open_bank
    from manyeyes.adapt.adapting import adapt as adapt_bank
    from manyeyes.adapt.compress import compressed
    from manyeyes.adapt.domain_file import check_place, read_header, save_domains
    from manyeyes.adapt.fold import check_folder, write_folded
    from manyeyes.adapt.plan import within_budget
    from manyeyes.backbones.weights import weights_sha256
    from manyeyes.errors import ChoiceError
    from manyeyes.home import cache_home

    check_task(task, unlabelled, len(photos))
    if method in ("supernet", "search"):
        adapt_supernet(photos, output, *chosen_supernet(ctx), ctx.params)
        return
    refuse_supernet(ctx)
    check_place(output)
    multiple = None if budget is None else read_budget(budget)
    card = one_card(backbone)
    if into is not None:
        header = read_header(into)
        card, size = header.card, header.size
    plan, recipe = published(ctx) if faithful else chosen(ctx)
    if fold is not None:
        if len(photos) > 1:
            raise ChoiceError("--fold wants one domain: adapt the backbone to one folder of photos")
        check_folder(fold, plan.method)
    if figure is not None:
        check_figure(figure, plan, len(photos))
    if compress is not None and len(photos) < 2:
        raise ChoiceError("--compress wants several domains to share something")
    if into is None:
        bank, sized = open_bank(card, size, accept_undeclared_licence)
        facts: dict[str, Any] = {}
    else:
        bank, sized = load_bank(into, accept_undeclared_licence)
        facts = dict(header.facts)
    read = read_courses(photos, sized, set(bank.names), Reading(task, unlabelled, HELD, seed, max_rejected))
    courses = [one.course for one in read]
    if multiple is not None:
        others = bank.norms_size() + plan.gates_size(bank.dimensions)
        plan = within_budget(plan, bank.sites, multiple, bank.backbone_size(), others)
    checkpoints = cache_home() / "training"
    trainings = [adapt_bank(bank, courses, plan, recipe, checkpoints)]
    if compress is not None:
        for name, domain in compressed({name: bank[name] for name in bank.names}, compress).items():
            bank.put(name, domain)
        second = dataclasses.replace(recipe, frozen=0)
        trainings.append(go_on(bank, courses, second, checkpoints, [plan.to_dict(), compress]))
    histories = [{"best": one.best, "epochs": list(one.history)} for one in trainings]
    learnt = {"plan": plan.to_dict(), "recipe": recipe.to_dict(), "compress": compress, "trainings": histories}
    facts |= {one.name: learnt | {"task": one.objective.to_dict()} for one in courses}
    save_domains(bank, card, weights_sha256(card), output, facts)
    for one in trainings:  # only now does nobody need to go on from them
        if one.checkpoint is not None:
            one.checkpoint.unlink(missing_ok=True)
    for each in read:
        say_score(bank, each)
    typer.echo(
        f"{_names(bank)} saved in {output}: {bank.multiple():.3f} times the parameters of {card.name}, heads aside"
    )
    if figure is not None:
        draw(bank, courses[0], read[0].paths, card.name, figure)
    if fold is not None:
        made = write_folded(bank, courses[0].name, sized, fold)
        typer.echo(f"the folded backbone is local:{fold}, with {made.dimension:,} features")


def _names(bank: "DomainBank") -> str:
    return f"{len(bank.names)} domains" if len(bank.names) > 1 else bank.names[0]
