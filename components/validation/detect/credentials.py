"""Passwords, keys and tokens that open something."""

import re

from components.validation.detect.masks import ends

_SHAPES = {
    "AWS key": r"\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|AROA)[A-Z2-7]{16}\b",
    "GitHub token": r"\bgh[oprsu]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_[A-Za-z0-9_]{40,255}\b",
    "GitLab token": r"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt)-[A-Za-z0-9_\-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}|\bxapp-\d-[A-Za-z0-9\-]{10,}"
    r"|hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}",
    "Stripe key": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9]{24,}",
    "Anthropic key": r"\bsk-ant-[A-Za-z0-9_\-]{20,}",
    "OpenAI key": r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{20,}",
    "Google key": r"\bAIza[A-Za-z0-9_\-]{35}|\bya29\.[A-Za-z0-9_\-]{20,}"
    r"|\bGOCSPX-[A-Za-z0-9_\-]{20,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "PyPI token": r"\bpypi-[A-Za-z0-9_\-]{50,}",
    "SendGrid key": r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}",
    "Telegram token": r"\b\d{8,10}:AA[A-Za-z0-9_\-]{33}",
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "JWT": r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
}
"""Tokens with a mark of their own, in forms that Python and RE2 read alike."""

_NAMES = (
    r"(?:pass(?:word|wd|phrase)|passwd|pwd|secret(?:[_-]?key)?|api[_-]?key|(?:access|auth|bearer|"
    r"refresh)[_-]?token|client[_-]?secret|secret[_-]?access[_-]?key|account[_-]?key|private[_-]?key)"
)
_ASSIGNMENT = re.compile(
    rf"""(?i){_NAMES}["']?[ \t]{{0,3}}(:=|=>|[=:])[ \t]{{0,3}}(["'`]?)([^\s"'`,;&]{{6,}})"""
)
_CONNECTION = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:([^\s:/@]{3,})@[\w\[.-]+", re.I
)
_PLACEHOLDER = re.compile(
    r"""(?ix) ^[<$%{\[*(] | \*{3} | x{4} | \.{3} | …
    | ^(?:your|my|the|some|enter|insert|change|replace|none|null|true|false|undefined|redacted
        |hidden|required|optional|string|example|placeholder|dummy|password|secret|passwd|pass)
      (?:$|[\W_])
    | ^change.?me | ^your | \( | ^(?:os|env|process|config|settings|self|args)\."""
)
_SHAPED = {name: re.compile(shape) for name, shape in _SHAPES.items()}


def secret(text: str) -> str | None:
    """Find a token by its shape, a password in an assignment, or one in a connection string.

    After `:` a value must hold a letter and a digit or sign, because people write `password: none
    yet`. Placeholders (`<token>`, `${KEY}`, `changeme`, `os.environ[…]`) are none.
    """
    for name, shape in _SHAPED.items():
        match = shape.search(text)
        if match:
            return f"{name} {ends(match.group(), 4, 0)}"
    for match in _CONNECTION.finditer(text):
        if not _PLACEHOLDER.search(match.group(1)):
            return f"connection string {match.group().split(':')[0]}://…"
    for match in _ASSIGNMENT.finditer(text):
        sign, quote, value = match.groups()
        if not _PLACEHOLDER.search(value) and (quote or sign != ":" or _looks_made(value)):
            return f"password {match.group()[:3]}…={value[0]}…"
    return None


def _looks_made(value: str) -> bool:
    """Say whether a value is no plain word: it has a letter, and a digit or sign inside."""
    inner = value.rstrip(".!?)")
    return bool(re.search(r"[A-Za-z]", inner) and re.search(r"[\d\W_]", inner))


SECRET = (
    "|".join(_SHAPES.values())
    + rf"|(?i:{_NAMES})[\"']?[ \t]{{0,3}}[=:]"
    + r"|://[^\s/@]*:[^\s/@]+@",
    secret,
)
