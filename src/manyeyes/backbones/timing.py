"""How long a backbone takes for a photo on this machine."""

import numpy as np
from torch.utils.benchmark import Timer

from manyeyes.backbones.backbone import Backbone

# Seconds that are measured for, at least.
MEASURED = 0.5


def seconds_of(backbone: Backbone) -> float:
    """For one photo of a batch as large as the engine likes, once it is decoded and framed: the median of several."""
    side = backbone.card.preprocessing.size
    framed = np.random.default_rng(0).integers(0, 256, (backbone.batch, side, side, 3), np.uint8)
    timer = Timer("embed(framed)", globals={"embed": backbone.embed, "framed": framed})
    return float(timer.blocked_autorange(min_run_time=MEASURED).median) / len(framed)
