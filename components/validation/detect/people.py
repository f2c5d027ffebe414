"""E-mail addresses and telephone numbers."""

import re

from components.validation.detect.masks import ends

_EMAIL = re.compile(
    r"(?<![\w.+/-])([a-z0-9][a-z0-9._%+-]{0,63})@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24})"
    r"(?![\w-])",
    re.IGNORECASE,
)
_PLACEHOLDER_DOMAIN = re.compile(r"(?:.*\.)?(?:example\.(?:com|org|net)|example)$", re.IGNORECASE)

_INTERNATIONAL = r"(?:\+|\b00)[1-9](?:[ ./()-]{0,3}\d){6,13}(?!\d)"
_NANP = r"(?:\b1[-. ])?(?:\([2-9]\d\d\)[-. ]?|\b[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4}\b"
"""North American plan: area code and exchange begin with 2 to 9."""
_TRUNK = r"\b0[1-9]\d{1,4}[ /-]{1,3}\d{2,8}(?:[ /-]\d{2,8}){0,4}\b|\b0[1-9](?:[ .-]\d{2}){4}\b"
"""With a trunk zero and a separator, as in most of Europe: `0171 1234567`, `06 12 34 56 78`."""
_BRACKETED = r"\((?:0\d{1,4}|[1-9]\d)\)[ -]?\d{3,5}[ -]?\d{3,5}\b"
_CALLED = (
    r"(?i:\b(?:tel|phone|telephone|mobile|cell|call|sms|whatsapp|fax|handy|telefon|mobil|rufnummer"
    r"|tél|portable|teléfono|móvil|telefone)\b[ .:#]{0,3}"
    r"(?:(?:me|us|nr|no|number|is|at|on)\b[ .:]{0,2}){0,3})\d{9,12}\b"
)
"""Digits without separators count only after a word that says what they are."""
_SHAPES = "|".join([_INTERNATIONAL, _NANP, _TRUNK, _BRACKETED, _CALLED])
_PHONE = re.compile(rf"(?<![\w.,:/$€£+-])(?:{_SHAPES})(?![.,:/-]?\d)")
_DIGITS = re.compile(r"\d")
_DATE = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{4}")


def email(text: str) -> str | None:
    """Find an address; those below example.com and its like belong to nobody."""
    for match in _EMAIL.finditer(text):
        name, domain = match.groups()
        if ".." not in name and not _PLACEHOLDER_DOMAIN.match(domain):
            return f"{name[0]}…@{domain}"
    return None


def phone(text: str) -> str | None:
    """Find a number of 8 to 15 digits (E.164) in an international or common national form."""
    for match in _PHONE.finditer(text):
        value = match.group()
        digits = "".join(_DIGITS.findall(value))
        # `0800 - 1700` are opening hours: a national number has nine digits and more.
        fewest = 9 if digits[0] == "0" else 8
        if fewest <= len(digits) <= 17 and not _DATE.search(value) and len(set(digits)) > 2:
            first = value.lstrip("(")
            return ends(first if first[0] in "+0123456789" else digits, 2, 2)
    return None


EMAIL = (r"[A-Za-z0-9._%+-]@[A-Za-z0-9-]+\.", email)
PHONE = (rf"(?:{_SHAPES})".replace("(?!\\d)", ""), phone)
