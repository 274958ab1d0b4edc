"""The base of every config section, and the types that they share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A config section: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def as_list(value: Any) -> Any:
    """A single text or mapping, which may stand without a list, as a list."""
    return [value] if isinstance(value, str | dict) else value
