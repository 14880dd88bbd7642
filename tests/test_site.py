"""The site is built, strictly: every link leads somewhere, and every name in the reference is there."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_site_is_built(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("index.html"))
    assert len(pages) > 40
    reference = (tmp_path / "site" / "reference" / "fusion" / "index.html").read_text(encoding="utf-8")
    assert "goes_on" in reference
    assert ":class:" not in reference
    for page in pages:  # a reader's browser asks nobody else
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text
        assert '<link rel="stylesheet" href="http' not in text
