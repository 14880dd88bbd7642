"""Every engine sees what torch in float32 sees, with normalisation and taps in its graph."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

from manyeyes import threads
from manyeyes.backbones.backbone import FINAL, Backbone, Embedding
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import ENGINES, openvino_engine, torch_engine
from manyeyes.backbones.engines.cuda_engine import CudaEncoder
from manyeyes.backbones.engines.openvino_engine import has_bf16
from manyeyes.backbones.engines.torch_engine import TorchEncoder
from manyeyes.backbones.nets import NETS, SECOND_ORDER
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.weights import ensure_weights
from manyeyes.errors import EngineError, UnknownNameError
from manyeyes.threads import open_pool

BOTH = (FINAL, SECOND_ORDER)
HERE = [name for name in ENGINES.names() if not ENGINES[name]().why_not()]
HALF = [name for name in HERE if name != "openvino" or has_bf16()]


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_torch_and_openvino_are_here() -> None:
    assert {"auto", "torch", "openvino"} <= set(HERE)


@torch.inference_mode()
def test_the_truth_is_the_network_itself(card: Card, photos: np.ndarray, truth: Embedding) -> None:
    network = NETS[card.net]().assemble(card, ensure_weights(card)).network
    features, logits = network(torch.from_numpy(normalise(photos, card.preprocessing)))
    np.testing.assert_allclose(truth.blocks[FINAL], features, rtol=1e-4, atol=1e-4)
    top = torch.softmax(logits, dim=1).topk(10).values
    np.testing.assert_allclose(truth.label_probability, top, atol=1e-5)


@pytest.mark.parametrize(
    ("engine", "precision", "least"),
    [*((name, "fp32", 1 - 1e-6) for name in HERE), *((name, "bf16", 0.99) for name in HALF)],
)
def test_an_engine_sees_what_torch_sees(card, photos, truth, engine, precision, least) -> None:
    seen = Backbone.load(card, taps=BOTH, precision=precision, engine=engine).embed(photos)
    assert seen.blocks.keys() == truth.blocks.keys()
    for tap, block in seen.blocks.items():
        assert (block.shape, block.dtype) == (truth.blocks[tap].shape, np.float32)
        assert cosines(block, truth.blocks[tap]).min() > least
    if precision == "fp32":
        np.testing.assert_array_equal(seen.label_index[:, :3], truth.label_index[:, :3])
        np.testing.assert_allclose(seen.label_probability, truth.label_probability, atol=1e-4)


@pytest.mark.parametrize("engine", HALF)
def test_what_is_asked_for_is_computed_in_that_precision(card: Card, photos: np.ndarray, engine: str) -> None:
    """An engine that quietly took bfloat16 for float32, or the other way, would differ here."""
    full, half = (Backbone.load(card, precision=name, engine=engine).embed(photos) for name in ("fp32", "bf16"))
    gap = np.abs(full.blocks[FINAL] - half.blocks[FINAL]).max() / np.abs(full.blocks[FINAL]).max()
    assert 1e-4 < gap < 0.1


def test_float32_never_passes_for_bfloat16(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor that does not multiply in bfloat16, OpenVINO takes the wish for it and computes in float32."""
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: False)
    with pytest.raises(EngineError, match="cannot run tiny in bfloat16: this processor does not multiply in it"):
        _ = Backbone.load(card, precision="bf16", engine="openvino").encoder
    backbone = Backbone.load(card, precision="bf16", engine="auto")
    backbone.expect(1000)
    assert isinstance(backbone.encoder, TorchEncoder | CudaEncoder)


@pytest.mark.parametrize("engine", HERE)
def test_every_thread_gets_its_own_rows(card: Card, photos: np.ndarray, truth: Embedding, engine: str) -> None:
    backbone = Backbone.load(card, taps=BOTH, engine=engine)
    _ = backbone.encoder
    together = Barrier(len(photos))

    def look(row: int) -> list[Embedding]:
        together.wait(30)
        return [backbone.embed(photos[row : row + 1]) for _ in range(10)]

    with ThreadPoolExecutor(len(photos)) as threads:
        for row, seen in enumerate(threads.map(look, range(len(photos)))):
            for one in seen:
                for tap, block in one.blocks.items():
                    assert cosines(block, truth.blocks[tap][row : row + 1]).min() > 1 - 1e-6


def test_an_engine_that_this_machine_cannot_have_says_why(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyeyes.backbones.engines.openvino_engine.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"openvino cannot run here: install it with pip install 'manyeyes\[openvino"):
        _ = Backbone.load(card, engine="openvino").encoder
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="cuda cannot run here: torch sees no NVIDIA GPU"):
        _ = Backbone.load(card, engine="cuda").encoder
    with pytest.raises(UnknownNameError, match="'tpu' is not one of the engines: choose from auto, cuda, openvino"):
        _ = Backbone.load(card, engine="tpu").encoder


def test_torch_compiles_when_there_are_photos_enough(card, photos, truth, monkeypatch) -> None:
    compiled = []
    monkeypatch.setattr(torch_engine, "compiled", lambda net, job, batch: compiled.append(batch) or net)
    for count, expected in ((0, []), (100, []), (10**9, [torch_engine.BATCH])):
        backbone = Backbone.load(card, taps=BOTH)
        backbone.expect(count)
        assert cosines(backbone.embed(photos).blocks[FINAL], truth.blocks[FINAL]).min() > 1 - 1e-6
        assert compiled == expected


def test_a_network_got_ready_for_few_photos_is_got_ready_again_for_many(card: Card, monkeypatch) -> None:
    compiled = []
    monkeypatch.setattr(torch_engine, "compiled", lambda net, job, batch: compiled.append(batch) or net)
    backbone = Backbone.load(card, batch_size=4)
    first = backbone.encoder
    for count in (100, 1):
        backbone.expect(count)
        assert backbone.encoder is first
    backbone.expect(10**9)
    second = backbone.encoder
    backbone.expect(10**10)
    assert backbone.encoder is second is not first
    assert compiled == [4]


def graphs() -> int:
    """How many graphs torch has compiled in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_a_compiled_network_sees_the_same_and_is_compiled_once(card, photos, truth, monkeypatch) -> None:
    monkeypatch.setattr(torch_engine, "_compiling_pays_after", lambda net, size: 0)
    before = graphs()
    backbone = Backbone.load(card, taps=BOTH, batch_size=4)
    backbone.expect(10)
    _ = backbone.encoder
    monkeypatch.setattr(threads, "cores", lambda: 2)
    with open_pool() as pool:
        for rows in (slice(0, 4), slice(4, 5), slice(0, 6)):
            for seen in pool.map(backbone.embed, [photos[rows]] * 4):
                for tap, block in seen.blocks.items():
                    assert cosines(block, truth.blocks[tap][rows]).min() > 1 - 1e-5
    assert graphs() == before + 1


def test_as_many_networks_are_compiled_as_there_are(card: Card, photos: np.ndarray, monkeypatch) -> None:
    """To torch they are one function, of which it would keep a few versions and then give up without an error."""
    monkeypatch.setattr(torch_engine, "_compiling_pays_after", lambda net, size: 0)
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: compile_(net, dynamic=dynamic, backend="eager"))
    before = graphs()
    # Eight, were they not so slow to make. By torch's own way to change a setting: pytest's would end by deleting it.
    with torch._dynamo.config.patch(recompile_limit=2), open_pool() as pool:
        for _ in range(3):
            backbone = Backbone.load(card)
            backbone.expect(10)
            _ = backbone.encoder
            pool.submit(backbone.embed, photos).result()
    assert graphs() == before + 3


def test_a_network_that_cannot_be_compiled_runs_as_it_is(card, photos, truth, monkeypatch, caplog) -> None:
    monkeypatch.setattr(torch_engine, "_compiling_pays_after", lambda net, size: 0)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no such compiler",))
    # A graph that an earlier test had compiled would be found again.
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    backbone = Backbone.load(card, taps=BOTH)
    backbone.expect(10)
    seen = backbone.embed(photos)
    assert "torch cannot compile tiny, which runs as it is" in caplog.text
    for tap, block in seen.blocks.items():
        assert cosines(block, truth.blocks[tap]).min() > 1 - 1e-6


def test_all_of_a_network_goes_to_another_device(card: Card) -> None:
    """No GPU is wanted for this: on the meta device, what was left behind on the processor would make a pass fail."""
    net = NETS[card.net]().assemble(card, ensure_weights(card), BOTH).ready(torch.bfloat16, "meta")
    outputs = net(torch.zeros(2, 64, 64, 3, dtype=torch.uint8, device="meta"))
    assert outputs.keys() == {"features", "logits", "moments"}
    assert {values.device.type for values in outputs.values()} == {"meta"}


def test_a_batch_too_large_for_the_gpu_is_halved(card, photos, truth, monkeypatch) -> None:
    """The halving is the encoder's own; the memory of a GPU is played by a limit."""

    class Small(CudaEncoder):
        def _look(self, framed):
            if len(framed) > 2:
                raise torch.OutOfMemoryError
            return TorchEncoder(self._net)(framed.numpy())

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    net = NETS[card.net]().assemble(card, ensure_weights(card), BOTH)
    encoder = Small(net, batch=6)
    look = encoder(photos)
    assert encoder.batch == 2
    for tap, block in look.blocks.items():
        assert cosines(block, truth.blocks[tap]).min() > 1 - 1e-6
