"""Annotations that say the range of a value; the config checker reads them off the signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Bounds of a number; ``None`` is no bound."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False

    def allows(self, value: float) -> bool:
        above = self.minimum is None or (
            value > self.minimum if self.exclusive_minimum else value >= self.minimum
        )
        return above and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        low = "" if self.minimum is None else f"{self.minimum:g}"
        high = "" if self.maximum is None else f"{self.maximum:g}"
        if low and high:
            return f"between {low} and {high}" + (f", not {low}" if self.exclusive_minimum else "")
        if low:
            return f"above {low}" if self.exclusive_minimum else f"at least {low}"
        return f"at most {high}"


PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
PositiveFloat = Annotated[float, Range(0, exclusive_minimum=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
