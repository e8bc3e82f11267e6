"""Downloads of published weights into the caches of torch and of the hub, with a limit of time."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from utils.errors import ConfigError, first_line

_SECONDS = 3.0  # for the answer of a host
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def file_of(url: str) -> str:
    """Return the name of the file at a URL."""
    return PurePosixPath(url).name


def torch_file(url: str, digest: str | None, key: str) -> Path:
    """Return a file in torch's cache folder, downloaded if it is not there.

    Args:
        url: where it is published.
        digest: start of its SHA-256, which a download must have; ``None`` if unknown.
        key: JSON path of the option, for messages.

    Raises:
        ConfigError: it is not there and cannot be downloaded.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / file_of(url)
    if path.exists():
        return path
    try:
        require_reachable(url)
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest)
    except (OSError, HTTPException, RuntimeError) as error:  # the last for a wrong hash
        raise ConfigError(
            f"{key}: {url} cannot be downloaded ({first_line(error)}); put {path.name} into {folder}, "
            "give its path as 'pretrained', or set that to false"
        ) from error
    return path


def hub_file(repository: str, filename: str | None, key: str) -> Path:
    """Return a file of weights in the hub's cache, downloaded if it is not there.

    Args:
        repository: its name on the hub.
        filename: the file; ``None`` takes the first usual one.
        key: JSON path of the option, for messages.

    Raises:
        ConfigError: it is not there and cannot be downloaded.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    names = (filename,) if filename else HUB_FILES
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    try:
        require_hub()
        return _download_first(repository, names)
    except Exception as error:  # the hub raises errors of three packages
        if isinstance(error, MemoryError):
            raise
        raise ConfigError(
            f"{key}: {names[0]} of {repository} cannot be downloaded ({first_line(error)}) and is not in "
            f"{constants.HF_HUB_CACHE}; give the path of such a file as 'pretrained', or leave it out"
        ) from error


def require_hub() -> None:
    """Raise OSError unless the hub answers.

    Raises:
        OSError: it does not, or the environment switches it off.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    require_reachable(constants.ENDPOINT)


def require_reachable(url: str) -> None:
    """Raise OSError unless the host of a URL answers within seconds, whatever it answers.

    The libraries that download have no limit of time, or try again for a minute.

    Raises:
        OSError: it does not.
    """
    if url.startswith("file:"):
        return
    error = _within(_SECONDS + 1, lambda: _ask(url))
    if error is not None:
        raise error


def _ask(url: str) -> None:
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        return  # an answer
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error


def _within(seconds: float, call: Callable[[], None]) -> Exception | None:
    """Return the exception of a call, or a TimeoutError; the resolution of a name heeds no timeout itself."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            call()
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else TimeoutError("no answer")


def _download_first(repository: str, names: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    error: Any = None
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, etag_timeout=_SECONDS))
        except EntryNotFoundError as missing:
            error = missing
    raise error
