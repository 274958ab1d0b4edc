"""Definitions that were edited and give what they gave before, so that keys stand.

``python -m emodrift.store.same MODULE:NAME`` tells a definition's digest, before and after an edit.
An edit that changes a number does not belong here, nor one that reaches further definitions. After
another edit a line is out of force and goes.
"""

from __future__ import annotations

import sys

SAME = {
    # Weights of two data types are new with mixed precision; of one they are judged as before.
    (
        "emodrift.models.blocks:find_tolerance",
        "982c66b16e7682e5aa75b75a1e3e25821dbb6587",
    ): "c0333ad194f0f6dd32f113b2e88b97877b7bea72",
    # Logits are computed once, not twice, where they may be held: the same bits.
    (
        "emodrift.measure.dialogues:score_replies",
        "c2f8d3252731b4b4c45237653a7db4535e6a3b37",
    ): "5905ed8b2c28cfdedb6978ffcb8b545a1f3ed421",
    # NumPy no longer warns of directions that move nothing.
    (
        "emodrift.drift.modularity:measure_modularity",
        "440babe2a96d47be6d43e33bae26d21682cea012",
    ): "372161f095b17f6a9c0e52641b5407345275d1ca",
}
"""(definition, its digest) -> the digest on which keys rest."""

if __name__ == "__main__":
    from emodrift.store.code import digest_definition

    for place in sys.argv[1:]:
        print(place, digest_definition(place))
