"""Payment card and bank account numbers, told from other digits by their checksums."""

import re

from components.validation.detect.masks import ends

_CARD = re.compile(
    r"(?<![\d.,-])\d{4}"
    r"(?:([ -]?)\d{4}(?:\1\d{4}){1,2}(?:\1\d{1,3})?|([ -]?)\d{6}\2\d{4,5})(?!\d|[.,-]\d)"
)
_NAMED = re.compile(
    r"(?i)\b(?:card|visa|master ?card|amex|maestro|unionpay|karte|carte|tarjeta|cc)\b"
)

_LENGTHS = (
    (r"4", (13, 16, 19)),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"6011|64[4-9]|65", (16, 17, 18, 19)),  # Discover
    (r"30[0-5]|3[689]", (14, 16, 17, 18, 19)),  # Diners Club
    (r"352[89]|35[3-8]", (16, 17, 18, 19)),  # JCB
    (r"62", (16, 17, 18, 19)),  # UnionPay
    (r"50(?:18|20|38)|5893|6304|6759|676[1-3]", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
)
_ISSUERS = tuple((re.compile(prefix), lengths) for prefix, lengths in _LENGTHS)

_IBAN_LENGTHS = {
    code: int(length)
    for code, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
        "ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20"
        "LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29"
        "PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
        "YE30",
    )
}
"""Country and length, from the IBAN registry of SWIFT (ISO 13616)."""
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30})")


def card(text: str) -> str | None:
    """Find 13 to 19 digits with an issuer's prefix and length and a right Luhn digit.

    Bare digits of a length other than 14 to 16 count only in a text that names a card: a tenth of
    all product codes and ids pass Luhn by chance.
    """
    for match in _CARD.finditer(text):
        value = match.group()
        digits = re.sub(r"\D", "", value)
        bare = digits == value
        usual = len(digits) in (14, 15, 16) or not bare or _NAMED.search(text)
        if usual and _issued(digits) and luhn(digits):
            return ends(value, 4, 2)
    return None


def iban(text: str) -> str | None:
    """Find an account number whose length is its country's and whose remainder by 97 is 1."""
    for match in _IBAN.finditer(text):
        found = match.group(1)
        length = _IBAN_LENGTHS.get(found[:2].upper(), 0)
        plain = re.sub(r"[ -]", "", found)
        # In running text the match may go on into the next word: the country says where to stop.
        if length and len(plain) >= length and remainder(plain[:length]) == 1:
            return ends(plain[:length], 2, 2)
    return None


def luhn(digits: str) -> bool:
    """Say whether the last digit is the check digit of ISO/IEC 7812-1."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def remainder(iban: str) -> int:
    """Return the remainder by 97 of ISO 7064, letters counting 10 to 35."""
    turned = (iban[4:] + iban[:4]).upper()
    return int("".join(str(int(char, 36)) for char in turned)) % 97


def _issued(digits: str) -> bool:
    return any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS)


CARD = (r"\d{4}[ -]?\d{4}[ -]?\d{2}", card)
IBAN = (r"\b[A-Za-z]{2}\d{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{3}", iban)
