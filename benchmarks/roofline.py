"""How near each backbone comes to what the processor can do: GF/s of its passes as a share of those of a plain GEMM.

    python benchmarks/roofline.py [--zoo mirror] [--precision bf16 fp32] -o docs/results/roofline.md

Operations are counted by torch, two for a multiply-accumulate, over the network and its source head; a pass is all that
the engine does, from photos' bytes to their features. The GEMM is the fastest of several sizes in the same precision,
by torch and by OpenVINO. One core. Passes and GEMMs take turns, each several times in a round, of which the fastest
counts; shares are medians over the rounds.

Where the time goes is what OpenVINO's own counters say of the same graph: convolutions and products that mix channels,
the rate at which they run, depthwise convolutions, and all else.
"""

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import keep, table
from torch.utils.flop_counter import FlopCounterMode

from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.openvino_engine import PRECISIONS, OpenVinoEncoder, compiled, settings
from manyeyes.backbones.engines.openvino_graph import graph
from manyeyes.backbones.engines.openvino_import import openvino
from manyeyes.backbones.engines.precision import has_bf16
from manyeyes.backbones.engines.torch_engine import DTYPES
from manyeyes.backbones.nets import FINAL, NETS, Run
from manyeyes.backbones.weights import ensure_weights
from manyeyes.backbones.zoo import read_zoo

PRECISIONS_HERE = ["bf16", "fp32"] if has_bf16("openvino") else ["fp32"]
SIZES = (1024, 2048)
PHOTOS, TRIES = 8, 3
DENSE, DEPTHWISE = ("Convolution", "FullyConnected", "MatMul"), ("GroupConvolution",)
# What multiplies, and its operations.
Gemm = tuple[Callable[[], object], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--precision", nargs="+", default=PRECISIONS_HERE, choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this core alone, for engine and GEMM alike
    torch.set_num_threads(1)
    tables, results = [], {}
    for precision in arguments.precision:
        gemms = [make(size, precision) for make in (torch_gemm, openvino_gemm) for size in SIZES]
        rows = []
        for card in read_zoo(arguments.zoo):
            folder = ensure_weights(card, arguments.accept_undeclared_licence)
            rows.append(measure(card, folder, precision, gemms, arguments.rounds))
            print(rows[-1], flush=True)
        results[precision] = rows
        tables.append(f"## {precision}\n\n{page(rows)}")
    keep(arguments.output, "Passes beside a plain GEMM", {"precisions": results}, "\n\n".join(tables))


def measure(card: Card, folder: Path, precision: Any, gemms: list[Gemm], rounds: int) -> dict[str, Any]:
    operations, depthwise = count(card, folder)
    job = NETS[card.net]().job(card, folder, Run((FINAL,), precision, "openvino"))
    graphs = compiled(graph(job), settings(job) | {"PERF_COUNT": True})
    photos = np.random.default_rng(0).integers(0, 256, (PHOTOS, job.size, job.size, 3), dtype=np.uint8)
    times = where_time_goes(graphs, photos)
    encoder = OpenVinoEncoder(compiled(graph(job), settings(job)), job.size)
    rates, peaks = race(lambda: encoder(photos), PHOTOS * operations, gemms, rounds)
    peak, whole = statistics.median(peaks), sum(times.values())
    return {
        "backbone": card.name,
        "giga_operations": operations / 1e9,
        "ms": operations / 1e6 / statistics.median(rates),
        "gflops": statistics.median(rates),
        "gemm_gflops": peak,
        "share": statistics.median(rate / peak for rate, peak in zip(rates, peaks, strict=True)),
        "dense_operations": 1 - depthwise,
        "dense_time": times["dense"] / whole,
        "dense_share": operations * (1 - depthwise) / times["dense"] / 1e9 / peak,
        "depthwise_time": times["depthwise"] / whole,
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


def where_time_goes(graphs: dict[int, Any], photos: np.ndarray) -> Counter[str]:
    """Seconds a photo of dense and depthwise convolutions, and of the rest, in the graph of most photos."""
    together = max(graphs)
    request = graphs[together].create_infer_request()
    passes = [times_of(request, photos[:together]) for _ in range(2 + 10 * TRIES)][2:]
    return Counter({kind: statistics.median(one[kind] for one in passes) / together for kind in passes[0]})


def times_of(request: Any, photos: np.ndarray) -> Counter[str]:
    request.infer([photos])
    times = Counter(dense=0.0, depthwise=0.0, rest=0.0)
    for layer in request.get_profiling_info():
        kind = "dense" if layer.node_type in DENSE else "depthwise" if layer.node_type in DEPTHWISE else "rest"
        times[kind] += layer.real_time.total_seconds()
    return times


def torch_gemm(size: int, precision: str) -> Gemm:
    left, right = (torch.randn(size, size, dtype=DTYPES[precision]) for _ in range(2))
    return lambda: left @ right, 2.0 * size**3


def openvino_gemm(size: int, precision: str) -> Gemm:
    """With a constant factor, which OpenVINO lays out once."""
    ov = openvino()
    left, right = (np.random.default_rng(0).standard_normal((size, size), dtype=np.float32) for _ in range(2))
    given = ov.opset13.parameter([size, size], np.float32)
    product = ov.opset13.matmul(given, ov.opset13.constant(right), False, False)
    chosen = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    request = ov.Core().compile_model(ov.Model([product], [given]), "CPU", chosen).create_infer_request()
    return lambda: request.infer([left]), 2.0 * size**3


def race(
    look: Callable[[], object], operations: float, gemms: list[Gemm], rounds: int
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
    """Of the fastest of several tries."""
    taken = []
    for _ in range(TRIES):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def page(rows: list[dict[str, Any]]) -> str:
    head = ["backbone", "GF a photo", "ms", "GF/s", "GEMM's", "share"]
    head += ["time mixing channels", "at of the GEMM's", "time in depthwise", "in the rest"]
    lines = [
        [
            row["backbone"],
            f"{row['giga_operations']:.2f}",
            f"{row['ms']:.2f}",
            f"{row['gflops']:.0f}",
            f"{row['gemm_gflops']:.0f}",
            f"**{row['share']:.0%}**",
            f"{row['dense_time']:.0%}",
            f"{row['dense_share']:.0%}",
            f"{row['depthwise_time']:.0%}",
            f"{1 - row['dense_time'] - row['depthwise_time']:.0%}",
        ]
        for row in rows
    ]
    return table(head, lines)


if __name__ == "__main__":
    main()
