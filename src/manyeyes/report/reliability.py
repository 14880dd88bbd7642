"""The reliability diagram, how often photos are right that were called so probable, as SVG in the page's colours."""

from collections.abc import Sequence

from jinja2 import Environment
from markupsafe import Markup

from manyeyes.report.findings import Bin

_TEMPLATE = Environment(autoescape=True).from_string(
    """<svg viewBox="0 0 440 300" role="img" aria-label="{{ words }}" style="max-width: 34rem; width: 100%">
{% for tick in (0, 25, 50, 75, 100) %}<line x1="{{ x(tick / 100) }}" x2="{{ x(tick / 100) }}" y1="15" y2="255" \
style="stroke: var(--line)"/><line x1="65" x2="415" y1="{{ y(tick / 100) }}" y2="{{ y(tick / 100) }}" \
style="stroke: var(--line)"/><text x="{{ x(tick / 100) }}" y="272" text-anchor="middle">{{ tick }}%</text>\
<text x="58" y="{{ y(tick / 100) + 4 }}" text-anchor="end">{{ tick }}%</text>{% endfor %}
<line x1="{{ x(0) }}" y1="{{ y(0) }}" x2="{{ x(1) }}" y2="{{ y(1) }}" \
style="stroke: var(--faint); stroke-dasharray: 4 4"/>
{% for one in bins %}<line x1="{{ x(one.confidence) }}" x2="{{ x(one.confidence) }}" y1="{{ y(one.least) }}" \
y2="{{ y(one.most) }}" style="stroke: var(--blue); stroke-opacity: .45; stroke-width: 3; stroke-linecap: round"/>\
<circle cx="{{ x(one.confidence) }}" cy="{{ y(one.accuracy) }}" r="{{ radius(one) }}" \
style="fill: var(--blue)"><title>{{ one.photos }} photos, {{ "%.0f" | format(100 * one.confidence) }}% \
sure on the mean, {{ "%.0f" | format(100 * one.accuracy) }}% right</title></circle>{% endfor %}
<text x="240" y="292" text-anchor="middle">how sure it is</text><text x="14" y="135" text-anchor="middle" \
transform="rotate(-90 14 135)">how often it is right</text></svg>"""
)


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """Of these bins; a dot's area is how many photos it stands for."""
    most = max(one.photos for one in bins)
    words = "; ".join(f"{one.photos} photos {one.confidence:.0%} sure, {one.accuracy:.0%} right" for one in bins)
    return Markup(
        _TEMPLATE.render(
            bins=bins,
            words=words,
            x=lambda share: round(65 + 350 * share, 1),
            y=lambda share: round(255 - 240 * share, 1),
            radius=lambda one: round(3 + 9 * (one.photos / most) ** 0.5, 1),
        )
    )
