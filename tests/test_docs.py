"""The Python on the pages of docs/ runs; what needs photos is shown in the README, which is run as a whole."""

from pathlib import Path

import pytest
from mktestdocs import check_md_file

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.glob("*.md")) if "```python\n" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_md_file(page, memory=True)
