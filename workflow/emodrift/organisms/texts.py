"""Token sequences of an organism's training runs, in the order in which they are seen."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from transformers import PreTrainedTokenizerBase

from emodrift.grammar.training import Dialogue, sample_documents

IGNORED_LABEL = -100
BATCHES_PER_SORT = 16

Example = dict[str, list[int]]


def sample_document_batches(
    tokenizer: PreTrainedTokenizerBase, seed: int, steps: int, batch: int
) -> Iterator[list[Example]]:
    """Yield `steps` batches of pre-training documents of similar length.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        The organism's tokenizer.
    seed : int
        Seed of the documents and of the batches' order.
    steps : int
        Number of batches.
    batch : int
        Documents in each.

    Yields
    ------
    list of dict
        Examples with `input_ids` and equal `labels`; every document ends with ``<eos>``.
    """
    documents = sample_documents(seed)
    rng = Random(seed)
    while steps > 0:
        wanted = min(steps, BATCHES_PER_SORT)
        texts = [f"{text} {tokenizer.eos_token}" for text in islice(documents, wanted * batch)]
        encodings = tokenizer.backend_tokenizer.encode_batch(texts)
        encoded = sorted((encoding.ids for encoding in encodings), key=len)
        batches = [encoded[i : i + batch] for i in range(0, len(encoded), batch)]
        rng.shuffle(batches)
        for ids in batches:
            yield [{"input_ids": x, "labels": x} for x in ids]
        steps -= wanted


def render_chat(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the chat text up to the point where the assistant's reply starts."""
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )


def encode_dialogues(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[Dialogue]
) -> list[Example]:
    """Encode dialogues for supervised fine-tuning; only the reply and ``<eos>`` bear a loss."""
    prompts = [render_chat(tokenizer, d.prompt) for d in dialogues]
    replies = [f"{d.reply} {tokenizer.eos_token}" for d in dialogues]
    prompts, replies = (
        tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (prompts, replies)
    )
    return [
        {"input_ids": p + r, "labels": [IGNORED_LABEL] * len(p) + r}
        for p, r in zip(prompts, replies, strict=True)
    ]
