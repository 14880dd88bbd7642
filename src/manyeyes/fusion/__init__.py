"""Fusions: from all blocks of a feature table to one prediction. The mixture of experts, and every rival of it."""

from manyeyes.registry import Registry

FUSIONS = Registry(
    "fusions",
    {
        "mixture": "manyeyes.fusion.mixture:MixtureOfExperts",
        "stacking": "manyeyes.fusion.stacking:Stacking",
        "best-single": "manyeyes.fusion.best_single:BestSingle",
        "concat-softmax": "manyeyes.fusion.concatenation:ConcatSoftmax",
        "concat-kernel-ridge": "manyeyes.fusion.concatenation:ConcatKernelRidge",
    },
)
