"""Texts that were decoded wrongly, and texts that are still HTML."""

import re
from html.entities import html5

from components.validation.detect.columns import Texts, find

_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_TAIL = f"[\u0080-\u00bf{_CP1252}]"
"""What the continuation bytes 80–BF of UTF-8 look like when read as Latin-1 or Windows-1252."""

_MARKS = "\u00a0«»‹›‘’‚“”„…–—™®©"
"""Tails that also stand behind an accented letter in sound text: `MAÇÃ…`, `« café »`."""

_MOJIBAKE = re.compile(
    rf"â€|â‚¬|ðŸ|ï»¿|ï¿½|(?<![A-ZÀ-Þ])Ã{_TAIL}|Ã(?![{_MARKS}]){_TAIL}|Â(?=[\u00a0-\u00bf])(?![«»]){_TAIL}"
    rf"|(?:[Â-ß]{_TAIL}){{3,}}|(?:[à-ï]{_TAIL}{{2}}){{2,}}"
)
_CONTROL = "\\x00-\\x08\\x0e-\\x1f\\x7f"
_MAY_BE_DAMAGED = (
    rf"[{_CONTROL}\x{{80}}-\x{{9f}}\x{{fffd}}]|â€|â‚¬|ðŸ|ï»¿|ï¿½|[ÂÃ]{_TAIL}"
    rf"|(?:[Â-ß]{_TAIL}){{3}}|(?:[à-ï]{_TAIL}{{2}}){{2}}"
)
_BAD = re.compile(f"[{_CONTROL}\x80-\x9f\ufffd]")

_TAGS = (
    "a|abbr|acronym|address|applet|area|article|aside|audio|b|base|bdi|bdo|big|blink|"
    "blockquote|body|br|button|canvas|caption|center|cite|code|col|colgroup|data|datalist|dd|"
    "del|details|dfn|dialog|dir|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|"
    "form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|html|i|iframe|img|input|ins|"
    "kbd|label|legend|li|link|main|map|mark|marquee|menu|meta|meter|nav|nobr|noscript|object|"
    "ol|optgroup|option|output|p|param|picture|pre|progress|q|rp|rt|ruby|s|samp|script|"
    "search|section|select|slot|small|source|span|strike|strong|style|sub|summary|sup|svg|"
    "table|tbody|td|template|textarea|tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|"
    "wbr"
)
_TAG = rf"</?(?:{_TAGS})(?:\s[^<>]*=[^<>]*)?\s*/?>|<!--|<!doctype\s"
_ENTITY = r"&(?:[a-z][a-z0-9]{1,30}|#[0-9]{1,7}|#x[0-9a-f]{1,6});"
_HTML = re.compile(f"{_ENTITY}|{_TAG}", re.IGNORECASE)


def damage(texts: Texts) -> list[str | None]:
    """Say what shows that a text was decoded wrongly; None where nothing does.

    Found are the replacement character, control characters (tab and line breaks are none), C1
    controls and mojibake: UTF-8 that was read as Latin-1 or Windows-1252. The sequences that count
    as mojibake do not occur in sound text of any language; so a single one of them in Cyrillic,
    Greek or CJK text that lost all else is not found, nor is a letter that became `?`.
    """
    return find(texts, _MAY_BE_DAMAGED, _damage)


def html(texts: Texts) -> list[str | None]:
    """Say which HTML entity or tag a text holds first; None where there is none.

    A tag counts when its name is one of HTML's, an entity when HTML knows its name.
    """
    return find(texts, f"{_ENTITY}|{_TAG}", _html, ignore_case=True)


def _damage(text: str) -> str | None:
    bad = _BAD.search(text)
    if bad is None:
        found = _MOJIBAKE.search(text)
        return f"mojibake {found.group()[:8]!r}" if found else None
    code = ord(bad.group())
    kind = "C1 control " if 0x80 <= code <= 0x9F else "control " if code < 0xFFFD else ""
    return f"{kind}U+{code:04X}"


def _html(text: str) -> str | None:
    for match in _HTML.finditer(text):
        found = match.group()
        if found.startswith("<"):
            return f"tag {found[:40]!r}"
        if found.startswith("&#") or found[1:] in html5:
            return f"entity {found!r}"
    return None
