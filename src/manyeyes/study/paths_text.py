"""What a search for smaller networks found, in words and as a table."""

from manyeyes.images.photo import readable
from manyeyes.study.paths import JudgedPath, PathSearch

UNITS = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def macs_unit(macs: float) -> tuple[float, str]:
    """The unit for numbers up to this, and its name; 1 and nothing for small ones."""
    # What rounds to 1.00 million is no 1000 thousand.
    return next(((unit, name) for unit, name in UNITS if macs >= 0.9995 * unit), (1.0, ""))


def say_macs(macs: float) -> str:
    """To three digits: "204 million"."""
    unit, name = macs_unit(macs)
    digits = f"{macs / unit:.3g}" if macs < 999.5 * unit else f"{macs / unit:,.0f}"
    return f"{digits} {name}".rstrip()


def front_text(search: PathSearch) -> str:
    """What the figure shows, with its main numbers."""
    chosen, full, metric = search.chosen, search.full, search.metric
    front, count = len(search.front), len(search.paths)
    cost, budget = say_macs(chosen.macs), say_macs(search.budget)
    if chosen == full:
        text = (
            f"The full network is chosen: {cost} MACs for one photo, with a budget of {budget}; its {metric.name} on "
            f"the held-out photos is {metric.say(full.metric)}."
        )
    else:
        text = (
            f"The chosen path takes {search.share(chosen):.2f} of the full network's MACs, {cost} of "
            f"{say_macs(full.macs)} for one photo, with a budget of {budget}; its {metric.name} on the held-out photos "
            f"is {metric.say(chosen.metric)}, the full network's {metric.say(full.metric)}."
        )
    text += f" {front} of {count} path{'s' if count > 1 else ''} {'are' if front > 1 else 'is'} on the front: no other "
    text += "is as good by the loss and as cheap."
    return text if chosen == full else f"{text} The chosen one leaves out {left_out(search, chosen)}."


def front_table(search: PathSearch) -> str:
    """The front from the cheapest path on, and the full network, as a table in Markdown."""
    metric = search.metric
    unit = f" {metric.unit}" if metric.unit else ""
    lines = [
        f"| MACs | of the full | loss | {metric.name}{unit} | leaves out |",
        "|---:|---:|---:|---:|---|",
    ]
    front = search.front
    for one in front if search.full in front else (*front, search.full):
        value = f"{metric.scaled(one.metric):.{metric.decimals}f}"
        cells = [say_macs(one.macs), f"{search.share(one):.2f}", f"{one.loss:.3f}", value, left_out(search, one)]
        if one == search.chosen:
            cells = [f"**{cell}**" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def left_out(search: PathSearch, path: JudgedPath) -> str:
    """What a path lacks of the full network, in few words. Hidden channels: the mean over the blocks that stay."""
    blocks = search.kept(path)
    staying = [block for block in blocks if block.is_kept]
    parts = []
    if gone := len(blocks) - len(staying):
        parts.append(f"{gone} of {len(blocks)} blocks")
    if narrower := sum(1 - block.width for block in staying):
        parts.append(f"{100 * narrower / len(staying):.2g}% of the hidden channels")
    if smaller := sum(block.kernel < block.full_kernel for block in staying):
        parts.append(f"the rim of the filters in {smaller} block{'s' if smaller > 1 else ''}")
    return "; ".join([", ".join(parts) or "nothing", *network_words(search, path)])


def network_words(search: PathSearch, path: JudgedPath) -> list[str]:
    """What a path chooses otherwise than the full network for more than a block."""
    words, ranks = [], []
    for (third, kind, full), value in (
        (one, path.chosen(one.block, one.kind, one.value)) for one in search.full.choices
    ):
        if value == full:
            continue
        if kind == "size":
            words.append(f"sees photos of {value:.0f} pixels, not {full:.0f}")
        elif kind == "exit":
            last = [block.name for block in search.kept(path) if block.name not in search.behind[value]][-1]
            words.append(f"ends after {readable(last)}")
        elif kind == "rank":
            ranks.append(f"{value:.0f} of {full:.0f} ({readable(third)})")
    return [*words, *([f"has adapters of rank {', '.join(ranks)}"] if ranks else [])]
