"""Values that may be shown without giving them away."""


def ends(value: str, first: int, last: int) -> str:
    """Return the first and the last characters of a value with `…` between them."""
    if len(value) <= 2 * (first + last):
        return value[:1] + "…"
    return f"{value[:first]}…{value[len(value) - last :] if last else ''}"
