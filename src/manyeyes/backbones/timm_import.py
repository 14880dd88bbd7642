"""timm, imported in spite of a known fault: a torchvision built for another torch lacks two operators it asks for.

The registry's torchvision beside a CPU build of torch fails at import with ``operator torchvision::nms does not exist``
(pytorch/vision#9077, #9085). No backbone uses these operators, so declaring them is enough.
"""

import torch


def _import_timm():  # type: ignore[no-untyped-def]
    try:
        import timm
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _declare_missing_operators()
        import timm
    return timm


def _declare_missing_operators() -> None:
    global _library  # a Library's operators vanish with the object
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


timm = _import_timm()
