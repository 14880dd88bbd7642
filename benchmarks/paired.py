"""Accuracies as tables show them, and two models on the same photos."""

import numpy as np
from scipy.stats import binomtest


def spread(values: list[float]) -> str:
    """In %, mean ± standard deviation."""
    percent = 100 * np.asarray(values)
    return f"{percent.mean():.1f}" + (f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else "")


def sign_test(mine: np.ndarray, theirs: np.ndarray) -> str:
    """How many points more of some photos one is right about than another, with a test by photo. Both: (n,) bool."""
    better, worse = int(np.sum(mine > theirs)), int(np.sum(mine < theirs))
    p_value = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return f"{100 * (mine.mean() - theirs.mean()):+.1f} (p = {p_value:.2g})"
