"""What answers cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmeval.models.served.providers import ModelEntry, Price
from llmeval.models.served.settings import ServedSettings

_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class PriceTag:
    """A model's price, or none that is known. ``share`` of it is paid (batches cost half)."""

    price: Price | None
    share: float = 1.0

    @classmethod
    def of(cls, settings: ServedSettings, entry: ModelEntry) -> PriceTag:
        """Return the price that the settings name, else the table's."""
        if not settings.given_price:
            return cls(entry.price)
        return cls(
            Price(
                input=settings.price_input or 0.0,
                output=settings.price_output or 0.0,
                cached=settings.price_cached,
            )
        )

    def of_tokens(self, prompt: int, cached: int, completion: int) -> float | None:
        """Return USD for tokens; ``cached`` of the prompt's were in the provider's cache."""
        price = self.price
        if price is None:
            return None
        for_cached = price.input if price.cached is None else price.cached
        fresh = max(0, prompt - cached)
        total = fresh * price.input + cached * for_cached + completion * price.output
        return self.share * total / _MILLION

    def describe(self) -> dict[str, Any] | None:
        return None if self.price is None else self.price.model_dump() | {"share": self.share}
