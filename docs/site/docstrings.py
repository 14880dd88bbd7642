"""Our plain docstrings as Markdown, for the reference of the site: a griffe extension."""

import re
from typing import Any

import griffe

HEADING = re.compile(r"^([A-Z].*)\n-{3,}$", re.MULTILINE)
# ``name, other : what it is``, and lines that go on, indented.
ENTRY = re.compile(r"^(\w[\w, ]*?) : (.*(?:\n    .*)*)", re.MULTILINE)
ROLE = re.compile(r":(?:class|mod|func|meth):`~?([\w.]+)`")
EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!$).*\n?)*)+", re.MULTILINE)


def as_markdown(text: str) -> str:
    """Headings bold, entries as a list, roles as code, examples fenced."""
    fenced: list[str] = []

    def fence(match: re.Match[str]) -> str:
        fenced.append(f"```pycon\n{match[0].rstrip()}\n```\n")
        return f"\0{len(fenced) - 1}\0"

    text = EXAMPLE.sub(fence, text)
    text = ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2] or match[1]}`", text)
    text = HEADING.sub(lambda match: f"**{match[1]}**\n", text)
    text = ENTRY.sub(lambda match: f"- `{match[1]}`: {' '.join(match[2].split())}", text)
    text = text.replace("``", "`")
    return re.sub(r"\0(\d+)\0", lambda match: fenced[int(match[1])], text)


class PlainDocstrings(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **how: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
