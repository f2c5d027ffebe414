"""Internet addresses of machines."""

import ipaddress
import re

_V4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_V6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{3,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION = re.compile(
    r"(?i)(?:\bv|ver|version|release|rev|build|update|firmware|driver|==|>=|<=|~=)[ .:]*$"
)
_MACHINE = re.compile(
    r"(?i)\b(?:ip|ips|ipv4|address|server|host|dns|ping|ssh|gateway|subnet|proxy)\b"
)
_NOBODY = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")))
_ROUTED = tuple(map(ipaddress.ip_network, ("2000::/3", "fc00::/7", "fe80::/10")))


def ip(text: str) -> str | None:
    """Find an IPv4 or IPv6 address other than loopback, unspecified and multicast ones.

    `1.2.3.4` may be a version. Four numbers count as an address unless a word for a version stands
    before them, or all four are single digits and the text has no word for a machine.
    """
    for match in _V4.finditer(text):
        if _is_machine(match.group(), text, match.start(), match.end()):
            first, second, *_ = match.group().split(".")
            return f"{first}.{second}.…"
    for match in _V6.finditer(text):
        if _is_v6(match.group()):
            return match.group()[:4].rstrip(":") + ":…"
    return None


def _is_machine(found: str, text: str, start: int, stop: int) -> bool:
    numbers = found.split(".")
    if any(int(number) > 255 or str(int(number)) != number for number in numbers):
        return False
    address = ipaddress.ip_address(found)
    if any(address in network for network in _NOBODY) or _VERSION.search(text[:start]):
        return False
    used = text[:start].endswith("//") or re.match(r":\d|/\d", text[stop:])
    return bool(used) or max(map(len, numbers)) > 1 or _MACHINE.search(text) is not None


def _is_v6(found: str) -> bool:
    try:
        address = ipaddress.IPv6Address(found.rstrip(":") if not found.endswith("::") else found)
    except ipaddress.AddressValueError:
        return False
    return any(address in network for network in _ROUTED)


IP = (r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{3,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}", ip)
