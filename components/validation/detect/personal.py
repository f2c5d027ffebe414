"""Personal data and secrets in texts, named by kind and masked."""

from collections.abc import Sequence

from components.contracts.errors import RecipeError, did_you_mean
from components.validation.detect import credentials, networks, numbers, people
from components.validation.detect.columns import Texts, column, find

DETECTORS = {
    "email": people.EMAIL,
    "phone": people.PHONE,
    "card": numbers.CARD,
    "iban": numbers.IBAN,
    "ip": networks.IP,
    "secret": credentials.SECRET,
}
"""For each kind, the RE2 pattern of the rows that may hold it and what looks at such a row."""

KINDS = tuple(DETECTORS)


def personal_data(texts: Texts, kinds: Sequence[str] = KINDS) -> list[str | None]:
    """Return for each text what it holds, as `email a…@x.org; phone +4…58`; None for nothing.

    One value of each kind is named, in the order of `kinds`, and never the whole of it.

    Raises:
        RecipeError: a kind is not one of `KINDS`.
    """
    array = column(texts)
    found: list[str | None] = [None] * len(array)
    for kind in kinds:
        if kind not in DETECTORS:
            raise RecipeError(
                f"personal data of kind '{kind}' is not known{did_you_mean(kind, KINDS)}",
                fix=f"use some of: {', '.join(KINDS)}",
            )
        for row, value in enumerate(find(array, *DETECTORS[kind])):
            if value is not None:
                named = f"{kind} {value}"
                found[row] = named if found[row] is None else f"{found[row]}; {named}"
    return found
