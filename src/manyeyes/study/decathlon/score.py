"""The decathlon score (NIPS 2017, section 4): one number for how good a method is on several domains.

    S = Σ_d α_d max(0, E_d^max - E_d)^γ,   γ = 2,   α_d = 1000 / (E_d^max)^γ,   E_d^max = 2 E_d of fine-tuning

so that fine-tuning scores 250 in each domain, a method without error 1000, and one with twice its error nothing.
"""

from collections.abc import Mapping

GAMMA = 2
PERFECT = 1000.0
# Accuracies in %, of fine-tuning a network of its own for each of the ten domains: the published baseline.
VISUAL_DECATHLON = {
    "imagenet12": 59.87,
    "aircraft": 60.34,
    "cifar100": 82.12,
    "daimlerpedcls": 92.82,
    "dtd": 55.53,
    "gtsrb": 97.53,
    "vgg-flowers": 81.41,
    "omniglot": 87.69,
    "svhn": 96.55,
    "ucf101": 51.20,
}


def domain_score(accuracy: float, baseline: float) -> float:
    """The score in one domain, from the accuracies of a method and of fine-tuning, both in per cent.

    Where fine-tuning makes no error at all, so must who is to score.

    >>> domain_score(90.0, baseline=90.0), domain_score(100.0, baseline=90.0), domain_score(75.0, baseline=90.0)
    (250.0, 1000.0, 0.0)
    """
    most = 2 * (100 - baseline)
    if most <= 0:
        return PERFECT / 2**GAMMA if accuracy >= 100 else 0.0
    return PERFECT * (max(0.0, most - (100 - accuracy)) / most) ** GAMMA


def decathlon_score(accuracies: Mapping[str, float], baselines: Mapping[str, float] = VISUAL_DECATHLON) -> float:
    """The sum over domains; both are accuracies in per cent, by domain. Raises KeyError for one without a baseline."""
    return sum(domain_score(accuracy, baselines[name]) for name, accuracy in accuracies.items())
