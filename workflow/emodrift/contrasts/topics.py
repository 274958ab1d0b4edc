"""Topics: which are fitted on and which are held out."""

from __future__ import annotations

from collections.abc import Iterable

from emodrift.store.digest import digest_value


def split_topics(topics: Iterable[str], heldout: float, seed: int) -> dict[str, str]:
    """Split of each topic, ``fit`` or ``heldout``.

    Topics are ordered by a digest of seed and name, so the split hangs on neither their order nor
    the process, and a further topic moves few of the others.

    Parameters
    ----------
    topics
        Names.
    heldout
        Share that is held out, rounded to whole topics.
    seed
        Another seed splits in another way.
    """
    ordered = sorted(set(topics), key=lambda topic: digest_value([seed, topic]))
    count = round(heldout * len(ordered))
    return {t: "heldout" if k < count else "fit" for k, t in enumerate(ordered)}
