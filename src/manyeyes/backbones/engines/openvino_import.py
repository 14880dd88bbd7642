"""OpenVINO, imported without its telemetry.

Importing OpenVINO imports ``openvino_telemetry`` where that is installed, which writes a consent file and an identifier
into the user's home and asks whether it may send. A module that cannot be imported can do neither, and OpenVINO runs
without it.
"""

import sys
import warnings
from functools import cache
from types import ModuleType


@cache
def openvino() -> ModuleType:
    """The package. Raises ImportError where it is not installed."""
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about what OpenVINO imports of it
        import openvino

    module: ModuleType = openvino
    return module
