"""Out of a TorchScript archive come tensors or a CardError, and no code in it is ever run."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from manyeyes.backbones.nets.torchscript import read_torchscript
from manyeyes.errors import CardError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


def test_tensors_come_back_by_path_in_order(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Sequential(nn.ReLU(), nn.Linear(4, 5)))
    net[1][1].weight = nn.Parameter(torch.arange(40.0).reshape(4, 10).T[::2])  # a view with steps and shared numbers
    state = read_torchscript(scripted(net, tmp_path / "net.pt"))
    assert list(state) == list(net.state_dict())
    torch.testing.assert_close(state, dict(net.state_dict()), rtol=0, atol=0)


class WritesWhenLoaded(nn.Module):
    """Makes a file at ``target`` in whoever loads it with torch."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.target = target

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        _, self.target, self.training = state
        self.weight = torch.from_file(self.target, shared=True, size=4)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def test_code_in_an_archive_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "run"
    path = scripted(WritesWhenLoaded(str(target)), tmp_path / "net.pt")
    torch.jit.load(path)
    assert target.exists(), "this archive is not hostile: the test would prove nothing"
    target.unlink()
    with pytest.raises(CardError, match=r"net\.pt cannot be read as TorchScript"):
        read_torchscript(path)
    assert not target.exists()


class Hostile:
    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("call", [(Path.mkdir, ("run",)), (eval, ("__import__('os').mkdir('run')",))])
def test_python_in_the_pickle_is_not_run(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("net.pt", "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps(Hostile(*call), 2))
    with pytest.raises(CardError, match="which is neither a module nor a float tensor"):
        read_torchscript(Path("net.pt"))
    assert not Path("run").exists()


def rewritten(path: Path, ending: str, change: Callable[[bytes], bytes]) -> Path:
    """The archive again, with another content of the member of that ``ending``."""
    target = path.with_name("rewritten.pt")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, change(content) if name.endswith(ending) else content)
    return target


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = scripted(nn.Linear(2, 3), tmp_path / "net.pt")
    assert read_torchscript(rewritten(path, "/data/0", lambda numbers: numbers)).keys() == {"weight", "bias"}
    with pytest.raises(CardError, match="out of bounds"):
        read_torchscript(rewritten(path, "/data/0", lambda numbers: numbers[:-4]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0), byte=st.integers(0, 255), length=st.integers(0, 1000))
def test_a_damaged_pickle_gives_tensors_or_a_card_error(tmp_path: Path, position: int, byte: int, length: int) -> None:
    def damage(content: bytes) -> bytes:
        place = position % len(content)
        return (content[:place] + bytes([byte]) + content[place + 1 :])[:length]

    path = scripted(nn.Conv2d(1, 1, 1), tmp_path / "net.pt")
    try:
        state = read_torchscript(rewritten(path, "/data.pkl", damage))
    except CardError:
        return
    assert all(isinstance(tensor, Tensor) for tensor in state.values())
