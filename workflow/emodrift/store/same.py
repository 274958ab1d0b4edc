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
    # Rows are labelled a block at a time, not checkpoint by checkpoint: the same files.
    (
        "emodrift.drift.table:GrowingTables",
        "e0789f08c160cfde8e2f791af3bf1ecd3ab4e942",
    ): "7f595c9817deb7507af88be4535f562dfef50702",
    (
        "emodrift.drift.table:_label",
        "80fc07c7da3efdd16eb056a48e225ba01d3cb5d6",
    ): "6d189067d85d323234cf792f7f5dadfb9dd3d82f",
    # Small tables are read in one thread: the same tables.
    (
        "emodrift.drift.table:read_table",
        "3b8d3d7f075d67c045e8f28a4359e400585a4e22",
    ): "d8f156154ce17dbfe9ddc4fb29d4410f4665568d",
}
"""(definition, its digest) -> the digest on which keys rest."""

if __name__ == "__main__":
    from emodrift.store.code import digest_definition

    for place in sys.argv[1:]:
        print(place, digest_definition(place))
