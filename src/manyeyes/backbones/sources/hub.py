"""``timm:NAME`` and ``hf-hub:OWNER/NAME`` — weights from the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path

from manyeyes.backbones.sources import check_sha256
from manyeyes.errors import CardError, FetchError
from manyeyes.home import is_offline

WEIGHTS = "model.safetensors"


class HubSource:
    """``hf-hub:OWNER/NAME[@REVISION][#FILE]``. Only safetensors files are read; ``#FILE`` defaults to theirs."""

    # The hub's own cache may hold the file, so this source decides for itself what offline means.
    needs_network = False

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        repository, _, revision = where.partition("@")
        file = inside or WEIGHTS
        if not file.endswith((".safetensors", ".onnx")):
            raise CardError(f"hf-hub:{where}#{file} is not safetensors or ONNX; other formats may run code")
        try:
            found = hf_hub_download(repository, file, revision=revision or None, local_files_only=is_offline())
        # The hub's client raises errors of many libraries; all of them mean that the file is not to be had.
        except Exception as error:
            raise FetchError(f"hf-hub:{where} has no {file} that can be reached: {_first_line(error)}") from None
        if sha256 is not None:
            check_sha256(Path(found), sha256, f"hf-hub:{where}")
        return Path(found)


class TimmSource:
    """``timm:NAME.TAG``: the weights that timm publishes under that name, from the hub repository it names."""

    needs_network = False

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        from manyeyes.backbones.timm_import import timm

        config = timm.models.get_pretrained_cfg(where)
        if config is None or not config.hf_hub_id:
            raise FetchError(f"timm {timm.__version__} publishes no weights called {where!r} on the hub")
        return HubSource().fetch(str(config.hf_hub_id), inside, sha256, folder)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
