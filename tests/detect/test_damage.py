"""Wrongly decoded texts are found, sound ones of many languages are not."""

import pyarrow as pa
import pytest

from components.validation.detect.damage import damage, html

SOUND = [
    "Größe und Spaß“ — naïve café, créée",
    "« Voilà », dit-il… « café » et « été… »",
    "«\xa0café\xa0» à\xa0«\xa0Orléans\xa0»",
    "MAÇÃ… IRMÃ” NÃO É… CAFÉ™ São Paulo – Ação",
    "İstanbul'da çağrı ŞİŞLİ “ğ”",
    "Привет мир — как дела… «да»",
    "你好，世界。こんにちは 안녕하세요",
    "😀👨\u200d👩\u200d👧 🇫🇷 ☃️",
    "Ελληνικά «καλημέρα»",
    "tab\tand line\r",
    "break",
    "Đặng Thị Ước “Â” Ấn Độ",
    "Þór sagði: „Jæja“…",
    "שלום العربية हिन्दी ภาษาไทย",
    "5 Å… Ø 12 mm × 4 µm ± 2 °C ½ £5 €20 ©",
]

MISREAD = [*SOUND[:8], "“curly” it’s – dash…", "naïve", "£5 é à", "hello 😀", "€20", "\ufeffbom"]
DAMAGED = {
    "a\x00b": "control U+0000",
    "ok\x7f": "control U+007F",
    "it\x92s": "C1 control U+0092",
    "gone \ufffd": "U+FFFD",
    "cafÃ©": "mojibake 'Ã©'",
    "donâ€™t": "mojibake 'â€'",
    "ÐŸÑ€Ð¸Ð²ÐµÑ‚": "mojibake 'ÐŸÑ€Ð¸Ð²'",
}
HTML = {
    "AT&amp;T": "entity '&amp;'",
    "it&#39;s": "entity '&#39;'",
    "x&nbsp;y": "entity '&nbsp;'",
    "a<br>b": "tag '<br>'",
    "x<br/>y": "tag '<br/>'",
    '<div class="x">': "tag '<div class=\"x\">'",
    "</P>": "tag '</P>'",
    "<!-- note -->": "tag '<!--'",
}
PLAIN = [
    "<3",
    "a < b",
    "<user> said",
    "<URL>",
    "AT&T; x",
    "&foo; bar",
    "if a<b and c>d",
    "R&D;",
    "->",
]


def misread(text: str, encoding: str) -> str:
    """Read UTF-8 bytes in a wrong encoding, the five holes of Windows-1252 as browsers do."""
    return "".join(
        chr(byte)
        if encoding == "latin-1" or byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
        else bytes([byte]).decode(encoding)
        for byte in text.encode()
    )


def test_sound_texts_are_not_damaged() -> None:
    assert damage(SOUND) == [None] * len(SOUND)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_utf8_read_as_something_else_is_found(encoding: str) -> None:
    texts = [misread(text, encoding) for text in MISREAD]
    assert all(damage(texts)), [
        t for t, found in zip(texts, damage(texts), strict=True) if not found
    ]


def test_damage_is_named() -> None:
    assert damage(list(DAMAGED)) == list(DAMAGED.values())


def test_a_lone_surrogate_and_nulls_are_taken() -> None:
    assert damage(["\ud83d x", None, ""]) == ["U+FFFD", None, None]


@pytest.mark.parametrize(
    "make", [list, pa.array, lambda texts: pa.chunked_array([texts[:2], texts[2:]])]
)
def test_lists_and_arrow_columns_give_the_same(make) -> None:
    assert html(make(list(HTML))) == list(HTML.values())


def test_what_only_looks_like_html_is_not() -> None:
    assert html(PLAIN) == [None] * len(PLAIN)
