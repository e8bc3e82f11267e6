"""Loading of weights into a network: every tensor accounted for, the first convolution adapted to the channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from models.weights.known import rename
from models.weights.read import KEY, Weights
from utils.errors import ConfigError
from utils.run.names import canonical

logger = logging.getLogger(__name__)

# buffers that a network computes itself, which files of other versions hold or lack
_COMPUTED = ("num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask")


def load_into(
    module: nn.Module,
    weights: Weights,
    name: str,
    *,
    expected: Mapping[str, Tensor] | None = None,
    optional: Sequence[str] = (),
) -> frozenset[str]:
    """Load weights into a network, and log what was loaded and what was not.

    Names may differ as those of timm's networks and feature extractors do. A first convolution of another number
    of input channels is adapted, see :func:`adapt_input`.

    Args:
        module: changed in place; unchanged on an error.
        weights: of a file.
        name: what the network is called, for messages.
        expected: tensors that the file may hold, by name; ``None`` are those of ``module``.
        optional: beginnings of the names of tensors that may be missing or have another shape, such as the
            classifier's.

    Returns:
        Names of the module's optional tensors that were not loaded.

    Raises:
        ConfigError: a tensor is missing, has another shape, is of no layer, or holds NaN or infinite values.
    """
    own = module.state_dict()
    expected = own if expected is None else expected
    state = rename(weights.state, expected)
    match = _Match(own, state, expected, tuple(optional))
    problem = match.problem()
    if problem:
        raise ConfigError(f"{KEY}: {weights.source}: the weights are not those of {name}: {problem}")
    broken = next((n for n, tensor in match.loaded.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise ConfigError(f"{KEY}: {weights.source}: holds NaN or infinite values (first: {broken})")
    module.load_state_dict({**own, **match.loaded})
    logger.info("%s", match.summary(weights.source, name))
    return frozenset(match.lacking)


def adapt_input(weight: Tensor, channels: int) -> Tensor:
    """Adapt the weights of a first convolution to another number of input channels, as timm does.

    One channel gets the sum over all; more repeat them in order, scaled by the old number over the new.

    Args:
        weight: (out, in, height, width).
        channels: the new number of input channels.
    """
    before = weight.shape[1]
    if channels == before:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, math.ceil(channels / before), 1, 1)[:, :channels]
    return repeated * (before / channels)


class _Match:
    """Tensors of a module beside those of a file.

    Attributes:
        loaded: values for tensors of the module.
        lacking: optional tensors of the module that the file does not serve.
    """

    def __init__(
        self,
        own: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        optional: tuple[str, ...],
    ) -> None:
        self.own, self.loaded = own, dict[str, Tensor]()
        self.lacking, self.missing, self.reshaped = list[str](), list[str](), list[str]()
        self.adapted: str | None = None
        given = {canonical(name): name for name in state}
        used = set()
        for name, tensor in own.items():
            source = given.get(canonical(name), given.get(canonical(name.removeprefix("model."))))
            if source is not None:
                used.add(source)
                self._take(name, tensor, state[source], name.startswith(optional))
            elif not name.endswith(_COMPUTED):
                (self.lacking if name.startswith(optional) else self.missing).append(name)
        self.unused = [name for name in state if name not in used]
        known = {canonical(name) for name in expected}
        self.foreign = [name for name in self.unused if not _is_allowed(name, known, optional)]

    def _take(self, name: str, own: Tensor, given: Tensor, is_optional: bool) -> None:
        if own.shape == given.shape:
            self.loaded[name] = given
        elif self.adapted is None and _differ_in_channels(own, given):
            self.adapted = f"{name} adapted from {given.shape[1]} to {own.shape[1]} channels"
            self.loaded[name] = adapt_input(given.float(), own.shape[1])
        else:
            (self.lacking if is_optional else self.reshaped).append(name)

    def problem(self) -> str:
        """Return in what the file differs from the network; empty if in nothing that matters."""
        count = len(self.own)
        parts = [
            f"{len(names)} {text} (first: {names[0]})"
            for names, text in (
                (self.missing, f"of its {count} tensors are missing"),
                (self.reshaped, "have another shape"),
                (self.foreign, "of the file are of no layer"),
            )
            if names
        ]
        return ", ".join(parts)

    def summary(self, source: str, name: str) -> str:
        """Return what was loaded in one line."""
        values = sum(self.own[key].numel() for key in self.loaded)
        text = f"pretrained: {source}: {len(self.loaded)} of {len(self.own)} tensors of {name} ({values:,} values)"
        if self.adapted:
            text += f", {self.adapted}"
        if self.lacking:
            text += f"; not in the file: {_some(self.lacking)}"
        if self.unused:
            text += f"; not used: {_some(self.unused)}"
        return text


def _is_allowed(name: str, known: Collection[str], optional: tuple[str, ...]) -> bool:
    """Return whether a file may hold a tensor that the module does not have."""
    return canonical(name) in known or name.startswith(optional) or name.endswith(_COMPUTED)


def _differ_in_channels(own: Tensor, given: Tensor) -> bool:
    """Return whether two kernels differ in the input channels only, as those of a first convolution do."""
    return (
        own.ndim == given.ndim == 4
        and given.shape[1] == 3
        and own.shape[0] == given.shape[0]
        and own.shape[2:] == given.shape[2:]
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} tensors ({shown}{', ...' if len(names) > 3 else ''})"
