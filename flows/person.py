"""Who sits at this machine: the name that stands beside a rating or a promotion."""

import getpass
import socket


def user() -> str:
    """Return the login name; "unknown" where the system has none (some containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def who() -> str:
    """Return user and machine."""
    return f"{user()}@{socket.gethostname()}"
