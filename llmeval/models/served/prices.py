"""What answers cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmeval.core.errors import UsageError
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
        """Return the price that the settings name, else the table's.

        Raises:
            UsageError: the settings name half of one.
        """
        given = settings.price_input, settings.price_output
        if given == (None, None):
            return cls(entry.price)
        if given[0] is None or given[1] is None:
            raise UsageError(
                "only one of price_input and price_output is set",
                where="model settings",
                mend="set both, in USD for a million tokens",
            )
        return cls(Price(input=given[0], output=given[1], cached=settings.price_cached))

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
