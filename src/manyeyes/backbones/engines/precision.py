"""What backbones compute in when nobody says: bfloat16, where the processor has it and it was shown to do no harm."""

from functools import cache
from typing import Any, get_args

import torch

from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.cuda_engine import CudaEngine
from manyeyes.backbones.nets import Precision, PrecisionChoice
from manyeyes.errors import UnknownNameError

# Instructions that multiply in bfloat16; where there are none it is emulated, and slower than float32.
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx10_2", "bf16")


def resolve(choice: PrecisionChoice, card: Card, engine: str) -> Precision:
    """The precision that a choice means for a backbone and engine here: ``auto`` is bf16 only for checked cards.

    Raises UnknownNameError for a choice that does not exist.
    """
    check_precision(choice)
    if choice != "auto":
        return choice
    return "bf16" if card.bf16_checked and has_bf16(engine) else "fp32"


def check_precision(choice: str) -> None:
    """Raise UnknownNameError for a choice that does not exist."""
    if choice not in (known := get_args(PrecisionChoice)):
        raise UnknownNameError(f"{choice!r} is not one of the precisions: choose from {', '.join(known)}")


def has_bf16(engine: str) -> bool:
    """Whether what the engine runs on, the GPU or the processor, multiplies in bfloat16."""
    if engine in ("auto", "cuda") and not CudaEngine().why_not():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(processor().get(name) for name in INSTRUCTIONS)


@cache
def processor() -> dict[str, Any]:
    """What torch knows of this processor; nothing in versions that do not say it."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}
