"""Topics: which are fitted on and which are held out."""

from __future__ import annotations

from collections.abc import Iterable

from emodrift.store.digest import digest_value


def split_topics(topics: Iterable[str], heldout: float, seed: int) -> dict[str, str]:
    """Split of each topic, ``fit`` or ``heldout``.

    The topics held out come first by a digest of seed and name, so the split depends on neither
    their order nor the process, and a further topic moves few of the others.

    Parameters
    ----------
    topics
        Names.
    heldout
        Share that is held out, rounded to whole topics.
    seed
        Another seed splits in another way.
    """
    listed = list(dict.fromkeys(topics))
    ordered = sorted(listed, key=lambda topic: digest_value([seed, topic]))
    held = set(ordered[: round(heldout * len(listed))])
    return {topic: "heldout" if topic in held else "fit" for topic in listed}
