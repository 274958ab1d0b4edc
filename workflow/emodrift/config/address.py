"""Models behind an address, and the address checked without being shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, model_validator

from emodrift.config.section import Section


class ServedModel(Section):
    """A chat model behind an OpenAI-compatible address."""

    model: str
    """Its name there."""
    endpoint: str | None
    """Address of an OpenAI-compatible server up to and including the version, such as
    `http://localhost:8000/v1`."""
    key_variable: str | None = None
    """Environment variable that holds the endpoint's API key. The key itself is never written."""
    parallel: int = Field(default=8, ge=1)
    """Questions that are asked at a time. Not part of any key."""
    timeout: float = Field(default=600, gt=0)
    """Seconds to wait for an endpoint's answer. Not part of any key."""

    @model_validator(mode="after")
    def _check_address(self) -> ServedModel:
        problem = find_address_problem(self.endpoint) if self.endpoint else None
        if problem:
            raise ValueError(f"endpoint: {problem}")
        if self.key_variable and not self.endpoint:
            raise ValueError("key_variable belongs to an `endpoint`")
        return self


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
