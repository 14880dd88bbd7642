"""To and from the Hugging Face hub, by the conventions of huggingface_hub's ``ModelHubMixin``.

Its mixin would write a config and a model card of its own over a bundle's, so only its methods' names and parameters
are followed. A bundle is what lies on the hub, and backbones' weights are referenced there as they are in a bundle.
"""

import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from manyeyes.errors import FetchError
from manyeyes.home import is_offline

# All that a bundle may hold.
BUNDLE = ("config.json", "model.safetensors", "README.md", "rejected.csv", "backbones/*.safetensors")


class HubMixin(ABC):
    """Saved to a folder and read from one, a model can be pushed to the hub and had from there."""

    @abstractmethod
    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a bundle."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | os.PathLike[str]) -> Any:
        """Read a bundle."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **how: Any,
    ) -> str | None:
        """Write a bundle, as :meth:`save` does; with ``push_to_hub`` push it too, and return the commit's URL.

        The repository is named as the folder unless ``repo_id`` names it; ``how`` is for :meth:`push_to_hub`.
        """
        self.save(save_directory)
        return self.push_to_hub(repo_id or Path(save_directory).name, **how) if push_to_hub else None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **options: Any,
    ) -> Any:
        """Read a bundle in a folder, or in a repository of the hub; ``options`` are those of :meth:`load`.

        The hub is not asked when the network is off: what was fetched before is used. No code is run that a bundle
        brings. Raises FetchError for a repository that cannot be had, and as :meth:`load`.
        """
        if Path(pretrained_model_name_or_path).is_dir():
            return cls.load(pretrained_model_name_or_path, **options)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            folder = snapshot_download(
                os.fspath(pretrained_model_name_or_path),
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                force_download=force_download,
                local_files_only=local_files_only or is_offline() or bool(options.get("offline")),
                allow_patterns=list(BUNDLE),
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
            where = os.fspath(pretrained_model_name_or_path)
            raise FetchError(f"{where} is no folder here, and cannot be had from the hub: {error}") from None
        return cls.load(folder, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push model using manyeyes",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Push a bundle to a repository of the hub, which is made if there is none; return the commit's URL.

        Whatever huggingface_hub raises, where the user may not write there, say, is raised.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as scratch:
            self.save(Path(scratch) / "bundle")
            return str(
                api.upload_folder(
                    repo_id=name,
                    folder_path=Path(scratch) / "bundle",
                    commit_message=commit_message,
                    revision=branch,
                    create_pr=create_pr,
                )
            )
