"""Addresses of servers, checked without being shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def find_address_problem(url: str) -> str | None:
    """What is wrong with a server's address, without repeating it; None if nothing is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "the address must start with http:// or https://"
    if parts.username or parts.password or parts.query:
        return (
            "the address holds a user name, password or query; give the key in the environment "
            "instead, so that it stays out of logs"
        )
    return None
