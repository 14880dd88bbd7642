"""``timm:NAME`` and ``hf-hub:OWNER/NAME`` — weights from the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from manyeyes.backbones.sources import check_sha256
from manyeyes.errors import CardError, ChecksumError, FetchError, UnknownNameError
from manyeyes.home import is_offline

WEIGHTS = "model.safetensors"


class HubSource:
    """``hf-hub:OWNER/NAME[@REVISION][#FILE]``. Only safetensors files are read; ``#FILE`` defaults to theirs."""

    def needs_network(self, where: str, inside: str) -> bool:
        """False when the hub's own cache holds the file."""
        from huggingface_hub import try_to_load_from_cache

        repository, revision, file = _parse(where, inside)
        try:
            return not isinstance(try_to_load_from_cache(repository, file, revision=revision), str)
        except ValueError as error:
            raise CardError(f"hf-hub:{where}#{file} names no file on the hub: {_first_line(error)}") from None

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        repository, revision, file = _parse(where, inside)
        try:
            found = hf_hub_download(repository, file, revision=revision, local_files_only=is_offline())
        # The hub's client raises errors of many libraries; all of them mean that the file is not to be had.
        except Exception as error:
            raise FetchError(f"hf-hub:{where} has no {file} that can be reached: {_first_line(error)}") from None
        if sha256 is not None:
            check_sha256(Path(found), sha256, f"hf-hub:{where}")
        return Path(found)


class TimmSource:
    """``timm:NAME.TAG``: the weights that timm publishes under that name, from the hub or the address it gives."""

    def needs_network(self, where: str, inside: str) -> bool:
        repository = timm_record(where).hf_hub_id
        return not repository or HubSource().needs_network(repository, inside)

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        record = timm_record(where)
        if record.hf_hub_id:
            return HubSource().fetch(record.hf_hub_id, inside, sha256, folder)
        file = _download(record.url, folder)
        if sha256 is not None:
            check_sha256(file, sha256, f"timm:{where}")
        return file


def _parse(where: str, inside: str) -> tuple[str, str | None, str]:
    """Repository, revision and file of ``OWNER/NAME[@REVISION]`` and ``FILE``."""
    repository, _, revision = where.partition("@")
    file = inside or WEIGHTS
    if not file.endswith((".safetensors", ".onnx")):
        raise CardError(f"hf-hub:{where}#{file} is not safetensors or ONNX; other formats may run code")
    return repository, revision or None, file


def timm_record(name: str) -> Any:
    """timm's ``PretrainedCfg`` of published weights. Raises UnknownNameError when there are none of that name."""
    from manyeyes.backbones.timm_import import timm

    try:
        record = timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # a known architecture, an unknown tag
        record = None
    if record is None or not (record.hf_hub_id or record.url):
        raise UnknownNameError(f"timm {timm.__version__} publishes no weights called {name!r}")
    return record


def _download(address: str, folder: Path) -> Path:
    """The file at ``address``; the start of its sha256 stands in its name, as in ``xception-43020ad28.pth``."""
    from torch.hub import HASH_REGEX, download_url_to_file

    target = folder / PurePosixPath(urlsplit(address).path).name
    stamp = HASH_REGEX.search(target.name)
    try:
        download_url_to_file(address, str(target), stamp[1] if stamp else None, progress=False)
    except OSError as error:
        raise FetchError(f"{address} cannot be reached: {_first_line(error)}") from None
    except RuntimeError as error:
        raise ChecksumError(f"{address} has not the sha256 that its name promises: {_first_line(error)}") from None
    return target


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
