"""The config section of model-written stories: who writes, about what, and how it is asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from emodrift.config.address import ServedModel

INSTRUCTIONS = """\
Write {count} different short stories about this topic: {topic}.

In each story somebody feels {emotion}. A reader must be able to tell so from what happens, from \
what people do, say and think, and from where they are. The feeling is never named: do not use \
any of these words, nor any form of them: {forbidden}.

Each story is one paragraph of plain prose of {minimum_words} to {maximum_words} words and stands \
alone, without title or number. Vary people, places, openings and the course of events. Tell some \
in the first and some in the third person."""

ANSWER_FORMATS = {
    "separated": "Put a line that holds only --- between stories. Write nothing else.",
    "json": "Answer with one JSON array of strings, each a story, and nothing else.",
}
PLACES = ("count", "topic", "emotion", "forbidden", "minimum_words", "maximum_words")
NEEDED_PLACES = ("count", "topic", "emotion", "forbidden")


class Writer(ServedModel):
    """A chat model that writes stories, after Sofroniew et al. 2026: emotion × topic × amount."""

    model: str
    """Chat model: a local directory or hub `repo@revision`; with `endpoint`, its name there."""
    endpoint: str | None = None
    """Address of an OpenAI-compatible server up to and including the version, such as
    `http://localhost:8000/v1`. Left out, the model is loaded here."""
    topics: tuple[str, ...] | str
    """Topics, or a text file with one topic a line."""
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Emotion -> further words that its stories must not use, beside those of `taxonomy`."""
    taxonomy: str = "resources/emotions.yaml"
    """File of emotions with their synonyms, which stories must not use."""
    forbidden: Literal["own", "study"] = "own"
    """Words that drop a story: those of its `own` emotion, or of every emotion of the `study`."""
    instructions: str = INSTRUCTIONS
    """What is asked for each emotion and topic. `{count}`, `{topic}`, `{emotion}` and `{forbidden}`
    must be in it, `{minimum_words}` and `{maximum_words}` may be."""
    answers: Literal["separated", "json"] = "separated"
    """How stories come: `separated` by a line of hyphens, or as a `json` array."""
    minimum_words: int = Field(default=60, ge=1)
    """Stories with fewer words are dropped."""
    maximum_words: int = Field(default=250, ge=1)
    """Stories with more words are dropped."""
    similarity: float = Field(default=0.6, gt=0, le=1)
    """A story is dropped as a copy from this TF-IDF cosine on to one of the same emotion or topic.
    """
    rounds: int = Field(default=4, ge=1)
    """How often an emotion and topic is asked for at most, to replace what was dropped."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 takes the likeliest token."""
    maximum_tokens: int = Field(default=4096, ge=1)
    """Longest answer in tokens."""
    options: dict[str, bool | int | float | str | tuple[str, ...] | None] = Field(
        default_factory=dict
    )
    """Further fields of the endpoint's request, or generation arguments of a local model, such as
    `top_p`. In a request null takes a field out: `{temperature: null}`."""

    @model_validator(mode="after")
    def _check(self) -> Writer:
        if self.minimum_words > self.maximum_words:
            raise ValueError("minimum_words is above maximum_words")
        try:
            self.instructions.format(**dict.fromkeys(PLACES, ""))
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"instructions cannot be filled in ({error}); the places are "
                f"{', '.join(f'{{{p}}}' for p in PLACES)}, and other braces are doubled"
            ) from None
        missing = [p for p in NEEDED_PLACES if f"{{{p}}}" not in self.instructions]
        if missing:
            raise ValueError(f"instructions lack {{{missing[0]}}}")
        return self

    def list_settings(self) -> dict[str, Any]:
        """Values that determine what is written, the whole prompt among them."""
        settings = self.model_dump(
            mode="json",
            exclude={"key_variable", "topics", "synonyms", "taxonomy", "parallel", "timeout"},
        )
        instructions = f"{settings.pop('instructions')}\n\n{ANSWER_FORMATS[self.answers]}"
        return settings | {"instructions": instructions}
