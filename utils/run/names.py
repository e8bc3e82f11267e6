"""Names of tensors in files of weights: prefixes of wrappers, and those of a part of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel and DDP, torch.compile, Lightning


def strip_wrappers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove prefixes of wrappers, but only those that all names share, so that no real name is cut."""
    stripped = dict(weights)
    while True:
        prefix = next((p for p in WRAPPERS if stripped and all(n.startswith(p) for n in stripped)), None)
        if prefix is None:
            return stripped
        stripped = {name[len(prefix) :]: tensor for name, tensor in stripped.items()}


def canonical(name: str) -> str:
    """Return a name without the difference between timm's networks and its feature extractors.

    ``stages.0.conv.weight`` is called ``stages_0.conv.weight`` in an extractor.
    """
    return name.replace(".", "_")


def place_of(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, dict[str, str]]:
    """Find the part of a model whose tensors have the names and shapes of ``weights``.

    Args:
        weights: tensors by the names of a file.
        own: tensors of the model.

    Returns:
        The prefix of the part, which may be empty, and the name in the file of each of its tensors.
    """
    given = {canonical(name): name for name in weights}
    best: tuple[str, dict[str, str]] = ("", {})
    for prefix in ("", *_prefixes(own)):
        found = {}
        for name, tensor in own.items():
            source = given.get(canonical(name[len(prefix) :])) if name.startswith(prefix) else None
            if source is not None and weights[source].shape == tensor.shape:
                found[name] = source
        if len(found) > len(best[1]):
            best = prefix, found
    return best


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes of up to three parts, with their dots, the shortest first."""
    found: dict[str, None] = {}
    for depth in (1, 2, 3):
        for name in names:
            parts = name.split(".")
            if len(parts) > depth:
                found[".".join(parts[:depth]) + "."] = None
    return list(found)
