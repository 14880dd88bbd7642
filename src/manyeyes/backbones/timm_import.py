"""timm, imported in spite of a known fault: a torchvision built for another torch lacks two operators it asks for.

The registry's torchvision beside a CPU build of torch fails at import with ``operator torchvision::nms does not exist``
(pytorch/vision#9077, #9085). No backbone uses these operators, so declaring them is enough.
"""

from types import ModuleType

import torch

# A library's operators vanish with the object, so it is kept here.
_library: torch.library.Library | None = None


def _import_timm() -> ModuleType:
    try:
        import timm
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _declare_missing_operators()
        import timm
    module: ModuleType = timm
    return module


def _declare_missing_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _library.define(signature)  # type: ignore[no-untyped-call]


timm = _import_timm()
