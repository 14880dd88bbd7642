"""How near each backbone comes to what the processor can do: GF/s of its passes as a share of those of a plain GEMM.

    python benchmarks/roofline.py [--zoo mirror] [--precision bf16] -o docs/results/roofline.json

Operations are counted by torch, two for a multiply-accumulate, over the network and its source head; a pass is all that
the engine does, from a photo's bytes to its features. The GEMM is the fastest of several sizes in the same precision,
by torch and by OpenVINO. One core; passes and GEMMs take turns, and the shares are medians over the rounds.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from command import command
from torch.utils.flop_counter import FlopCounterMode

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.openvino_engine import PRECISIONS
from manyeyes.backbones.engines.openvino_import import openvino
from manyeyes.backbones.engines.torch_engine import DTYPES
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.weights import ensure_weights
from manyeyes.backbones.zoo import read_zoo

SIZES = (1024, 2048, 3072)
PHOTOS = 8
# What multiplies, and its operations.
Gemm = tuple[Callable[[], object], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", default="bf16", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this core alone, for engine and GEMM alike
    torch.set_num_threads(1)
    gemms = [make(size, arguments.precision) for make in (torch_gemm, openvino_gemm) for size in SIZES]
    rows = []
    for card in read_zoo(arguments.zoo):
        rows.append(measure(card, gemms, arguments))
        print(line(rows[-1]), flush=True)
    if arguments.output:
        processor = torch.cpu.get_capabilities().get("cpu_name", "unknown")
        record = {
            "command": command(),
            "processor": processor,
            "engine": arguments.engine,
            "precision": arguments.precision,
        }
        arguments.output.write_text(json.dumps(record | {"backbones": rows}, indent=1) + "\n", encoding="utf-8")


def measure(card: Card, gemms: list[Gemm], arguments: argparse.Namespace) -> dict:
    folder = ensure_weights(card, arguments.accept_undeclared_licence)
    operations, depthwise = count(card, folder)
    encoder = Backbone.load(card, True, precision=arguments.precision, engine=arguments.engine).encoder
    size = card.preprocessing.size
    photos = np.random.default_rng(0).integers(0, 256, (PHOTOS, size, size, 3), dtype=np.uint8)
    rates, peaks = race(lambda: encoder(photos), PHOTOS * operations, gemms, arguments.rounds)
    return {
        "backbone": card.name,
        "giga_operations": operations / 1e9,
        "depthwise_share": depthwise,
        "ms": operations / 1e6 / statistics.median(rates),
        "gflops": statistics.median(rates),
        "gemm_gflops": statistics.median(peaks),
        "share": statistics.median(rate / peak for rate, peak in zip(rates, peaks, strict=True)),
    }


def count(card: Card, folder: Path) -> tuple[float, float]:
    """The operations of one pass over one photo, and the share of them that depthwise convolutions have."""
    network = NETS[card.net]().assemble(card, folder).network
    depthwise = [0.0]

    def add(module: torch.nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            depthwise[0] += 2 * output.numel() * module.weight[0].numel()

    for module in network.modules():
        module.register_forward_hook(add)
    size = card.preprocessing.size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, size, size))
    total = float(counter.get_total_flops())
    return total, depthwise[0] / total


def torch_gemm(size: int, precision: str) -> Gemm:
    left, right = (torch.randn(size, size, dtype=DTYPES[precision]) for _ in range(2))
    return lambda: left @ right, 2.0 * size**3


def openvino_gemm(size: int, precision: str) -> Gemm:
    """With a constant factor, which OpenVINO lays out once."""
    ov = openvino()
    left, right = (np.random.default_rng(0).standard_normal((size, size), dtype=np.float32) for _ in range(2))
    given = ov.opset13.parameter([size, size], np.float32)
    product = ov.opset13.matmul(given, ov.opset13.constant(right), False, False)
    settings = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    request = ov.Core().compile_model(ov.Model([product], [given]), "CPU", settings).create_infer_request()
    return lambda: request.infer([left]), 2.0 * size**3


def race(
    look: Callable[[], object],
    operations: float,
    gemms: list[Gemm],
    rounds: int,
) -> tuple[list[float], list[float]]:
    """GF/s of the passes and of the fastest GEMM beside them, round by round; the first round warms up."""
    rates, peaks = [], []
    for round_ in range(rounds + 1):
        rate = operations / seconds(look) / 1e9
        peak = max(flops / seconds(multiply) / 1e9 for multiply, flops in gemms)
        if round_:
            rates.append(rate)
            peaks.append(peak)
    return rates, peaks


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def line(row: dict) -> str:
    return (
        f"{row['backbone']:22}{row['giga_operations']:7.2f} GF  {row['depthwise_share']:5.0%} depthwise"
        f"{row['ms']:8.2f} ms{row['gflops']:7.0f} GF/s of {row['gemm_gflops']:4.0f}{row['share']:7.0%}"
    )


if __name__ == "__main__":
    main()
