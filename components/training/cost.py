"""Energy and money from hours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """`watts` the machine draws in training, prices in any one currency; `None`: not known."""

    watts: float | None = None
    price_per_kwh: float | None = None
    price_per_hour: float | None = None


def energy_kwh(seconds: float, rates: Rates) -> float | None:
    """Return the energy of `seconds` in kWh, if the power is known."""
    return None if rates.watts is None else rates.watts * seconds / 3.6e6


def money(seconds: float, rates: Rates) -> float | None:
    """Return the price of `seconds`: the machine's by the hour and the energy's, as far as known.

    `None` if no price is known, or one of energy without the power.
    """
    parts = []
    if rates.price_per_hour is not None:
        parts.append(rates.price_per_hour * seconds / 3600)
    energy = energy_kwh(seconds, rates)
    if rates.price_per_kwh is not None and energy is not None:
        parts.append(rates.price_per_kwh * energy)
    return sum(parts) if parts else None
