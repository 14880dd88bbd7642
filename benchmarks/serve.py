"""What a server makes of many who ask at the same time, against the same model asked about one photo after another.

    python benchmarks/serve.py MODEL PHOTOS -o docs/results/serve.md

In each round the model is asked in this process, photo by photo and without HTTP; and then the server, a process of its
own, by one client after another number of clients, of which each waits for an answer before it asks again. So a busy
machine is busy for all. The clients take their share of the same processor.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from record import keep, table

from manyeyes import ManyEyesClassifier
from manyeyes.images import MAX_PIXELS, list_photos
from manyeyes.serve.looking import Looking

CLIENTS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=200, help="photos that are asked about in each round")
    parser.add_argument("--clients", type=lambda text: tuple(map(int, text.split(","))), default=CLIENTS)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    paths = list_photos([arguments.photos])
    random = np.random.default_rng(0)
    photos = [Path(path).read_bytes() for path in random.permutation(paths)[: arguments.most]]
    looking = Looking(ManyEyesClassifier.load(arguments.model, accept_undeclared_licence=True), MAX_PIXELS)
    looking.get_ready()
    alone: list[list[float]] = []
    served: dict[int, list[list[float]]] = {clients: [] for clients in arguments.clients}
    walls: dict[int, list[float]] = {clients: [] for clients in arguments.clients}
    with serving(arguments.model) as url:
        asyncio.run(ask(url, photos[:8], 1))
        looking(photos[:8])
        for _ in range(arguments.rounds):
            alone.append([seconds_of(looking, photo) for photo in photos])
            for clients in arguments.clients:
                start = time.perf_counter()
                served[clients].append(asyncio.run(ask(url, photos, clients)))
                walls[clients].append(time.perf_counter() - start)
    base = np.array([sum(one) for one in alone])
    rows = [["one by one, without HTTP", *columns(base / base, base, len(photos), np.concatenate(alone))]]
    for clients in arguments.clients:
        wall = np.array(walls[clients])
        words = f"{clients} client{'s' if clients > 1 else ''}"
        rows.append([words, *columns(base / wall, wall, len(photos), np.concatenate(served[clients]))])
    head = ["", "times as many photos a second", "least", "most", "photos/s", "p50 ms", "p99 ms"]
    words = (
        f"{len(photos)} photos, one a request, {arguments.rounds} rounds. *Times as many*: as when the model is "
        "asked about one by one in the same round, without HTTP, and with every network ready."
    )
    results = {"alone": alone, "served": served, "walls": walls}
    keep(arguments.output, "What a server makes of many who ask", results, words + "\n\n" + table(head, rows))


def columns(ratios: np.ndarray, walls: np.ndarray, photos: int, seconds: np.ndarray) -> list[str]:
    return [
        *(f"{one:.2f}" for one in (np.median(ratios), ratios.min(), ratios.max())),
        f"{photos / np.median(walls):.1f}",
        *(f"{1000 * one:.0f}" for one in np.percentile(seconds, [50, 99])),
    ]


def seconds_of(looking: Looking, photo: bytes) -> float:
    start = time.perf_counter()
    looking([photo])
    return time.perf_counter() - start


async def ask(url: str, photos: list[bytes], clients: int) -> list[float]:
    """Seconds of each request; the clients take the photos from one heap."""
    left, taken = iter(photos), []

    async def one_client(client: httpx.AsyncClient) -> None:
        for photo in left:
            start = time.perf_counter()
            response = await client.post("/predict", content=photo, headers={"Content-Type": "image/jpeg"})
            response.raise_for_status()
            taken.append(time.perf_counter() - start)

    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        await asyncio.gather(*(one_client(client) for _ in range(clients)))
    return taken


@contextmanager
def serving(model: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "manyeyes.cli.main", "serve", str(model), "--port", "0"]
    process = subprocess.Popen([*command, "--accept-undeclared-licence"], stderr=subprocess.PIPE, text=True)
    try:
        said = next(line for line in iter(process.stderr.readline, "") if line.startswith("serving "))
        yield said.split(" at ")[1].split()[0]
    finally:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    main()
