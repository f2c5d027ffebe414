"""Whether there is a champion to be compared with, and if not, whether that is a pass."""

from components.gate.evidence import Evidence


def settled(evidence: Evidence) -> tuple[bool, str] | None:
    """Return (passed, why) where no comparison with the champion is to be made; else None.

    No champion yet, or a champion that is the file to ship itself, is a pass. A champion that could
    not answer is none: that the file is not worse is not shown then.
    """
    facts, ship = evidence.champion_facts, evidence.settings.ship
    if facts.get("same_as") == ship:
        return True, f"{ship} is the champion, byte for byte"
    if not facts.get("there"):
        return True, "no champion yet: nothing to compare with"
    if not facts.get("compared"):
        return False, f"not compared with the champion: {facts.get('reason', 'it did not answer')}"
    return None
