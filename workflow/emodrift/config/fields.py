"""Fields of story and prompt records: those that a record needs, and those that it may have."""

STORY_FIELDS = ("id", "set", "label", "topic", "split", "text")
STORY_OPTIONS = ("person", "pair", "reply_cue")
PROMPT_FIELDS = ("id", "suite", "split", "family", "prompt")
PROMPT_OPTIONS = ("answer", "aliases", "wrapper", "source")


def list_fields(kind: str) -> tuple[str, ...]:
    """All fields of a record of a kind of contrast data: needed ones, then optional ones."""
    if kind == "prompts":
        return PROMPT_FIELDS + PROMPT_OPTIONS
    return STORY_FIELDS + STORY_OPTIONS


DISCOVERED = "discovered"
"""Name of the bundle that discovery chooses."""
RIVAL_NAMES = ("harm", "refusal")
"""Directions that know nothing of emotions, which discovery adds."""
