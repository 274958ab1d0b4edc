"""A chat model that answers questions: one that is loaded here, or one behind an address."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from emodrift.contrasts.answers import Asker, Question, ask_endpoint, read_key
from emodrift.contrasts.endpoint import Answer, ChatServer
from emodrift.errors import EmodriftError
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import load_network
from emodrift.models.prompts import encode_prompts, find_pad, list_ends
from emodrift.store.digest import digest_value

RETRIES = 8


def open_chat(
    writer: Mapping[str, Any], seed: int, dtype: str, connection: Mapping[str, Any]
) -> Asker:
    """Asker of the model that a config's writer names; nothing is loaded before it is asked.

    Parameters
    ----------
    writer
        Settings: model, endpoint, temperature, maximum_tokens, options.
    seed
        Seed of a local model's sampling.
    dtype
        Data type of a local model's weights.
    connection
        ``parallel``; of an endpoint ``key_variable`` and ``timeout``; of a local model
        ``location`` and ``loading``.
    """
    if writer["endpoint"]:

        def name_server() -> ChatServer:
            return ChatServer(
                writer["endpoint"],
                read_key(connection["key_variable"], "contrasts.stories.writer.key_variable"),
                connection["timeout"],
                RETRIES,
                name="contrasts.stories: endpoint",
                settings="writer.endpoint, writer.model and writer.key_variable",
            )

        request = {
            "model": writer["model"],
            "temperature": writer["temperature"],
            "max_tokens": writer["maximum_tokens"],
            **writer["options"],
        }
        return ask_endpoint(name_server, request, connection["parallel"])

    @functools.cache
    def load() -> LanguageModel:
        place, loading = connection["location"], connection["loading"]
        network, tokenizer = load_network(place, loading, dtype, "the writer")
        return LanguageModel(network, tokenizer, torch.nn.ModuleList())

    return ask_local_model(load, writer, seed, connection["parallel"])


def ask_local_model(
    load: Callable[[], LanguageModel], writer: Mapping[str, Any], seed: int, parallel: int
) -> Asker:
    """Asker of a model that is loaded when the first question is asked.

    Parameters
    ----------
    load
        Gives the model.
    writer
        Settings: temperature, maximum_tokens, options (arguments of ``generate``).
    seed
        Seed of the sampling.
    parallel
        Questions in a batch.
    """

    def ask(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        model = load()
        for start in range(0, len(questions), parallel):
            batch = questions[start : start + parallel]
            yield from enumerate(generate_answers(model, batch, writer, seed), start)

    return ask


@torch.inference_mode()
def generate_answers(
    model: LanguageModel, questions: Sequence[Question], writer: Mapping[str, Any], seed: int
) -> list[Answer]:
    """Sample one answer to each of a batch of questions.

    The random state depends on the seed and the batch's questions alone.

    Raises
    ------
    EmodriftError
        The model has no chat template, its context is too short, or it does not know an option.
    """
    ids, mask = _pad_left(model, _encode_questions(model, questions, writer["maximum_tokens"]))
    sampling = (
        {"do_sample": True, "temperature": writer["temperature"]}
        if writer["temperature"]
        else {"do_sample": False}
    )
    with torch.random.fork_rng(
        devices=[model.device] if model.device.type == "cuda" else [], enabled=True
    ):
        torch.manual_seed(int(digest_value([seed, *map(list, questions)])[:12], 16))
        try:
            rows = model.network.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=writer["maximum_tokens"],
                pad_token_id=find_pad(model),
                **sampling | writer["options"],
            )
        except (TypeError, ValueError) as error:
            raise EmodriftError(
                f"contrasts.stories: the writer cannot generate ({error}); check writer.options"
            ) from None
    return [_read_row(model, row[ids.shape[1] :].tolist()) for row in rows]


def _encode_questions(
    model: LanguageModel, questions: Sequence[Question], maximum_tokens: int
) -> list[list[int]]:
    if not model.tokenizer.chat_template:
        raise EmodriftError(
            "contrasts.stories: the tokenizer of writer.model has no chat template; take a chat "
            "model, or serve the model and give its `endpoint`"
        )
    encoded = encode_prompts(model, (q.prompt for q in questions), "chat", "")
    limit = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, encoded))
    if limit and longest + maximum_tokens > limit:
        raise EmodriftError(
            f"contrasts.stories: a question has {longest} tokens and writer.maximum_tokens is "
            f"{maximum_tokens}, but the model's context holds {limit}; lower maximum_tokens"
        )
    return encoded


def _pad_left(
    model: LanguageModel, encoded: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (question, token), ending at the same token."""
    width = max(map(len, encoded))
    ids = torch.full((len(encoded), width), find_pad(model))
    mask = torch.zeros(len(encoded), width, dtype=torch.long)
    for k, tokens in enumerate(encoded):
        ids[k, width - len(tokens) :] = torch.tensor(tokens)
        mask[k, width - len(tokens) :] = 1
    return ids.to(model.device), mask.to(model.device)


def _read_row(model: LanguageModel, tokens: list[int]) -> Answer:
    ends = list_ends(model)
    end = next((k for k, token in enumerate(tokens) if token in ends), None)
    text = model.tokenizer.decode(tokens[:end], skip_special_tokens=True)
    return Answer(text, complete=end is not None)
