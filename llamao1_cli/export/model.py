"""A trained model as a plain Hugging Face folder: adapters merged, one tokenizer, one end."""

from pathlib import Path
from typing import Any

from peft import PeftModel
from tokenizers import Tokenizer
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from llamao1_cli.config import Config
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.tasks.load import load_task


def trained_model(config: Config, weights: Path) -> LanguageModel:
    """Returns the configured model with a checkpoint's `weights`, on the CPU.

    Raises UserError if a part of it cannot be loaded.
    """
    from_scratch = config.model.path is None and config.model.lora is not None
    corpus = load_task(config.task).corpus() if from_scratch else []
    model = config.model.model_copy(update={"device": "cpu"})
    return load_model(model, corpus, config.run.seed, weights)


def save_plain(language_model: LanguageModel, folder: Path, config: Config) -> list[str]:
    """Write weights (safetensors), configuration, generation settings and tokenizer; returns what
    of the base model's was dropped, a phrase each.

    `generate` ends where a thought does, in a language that it does not know; else nothing of the
    base model's is changed. The adapters of `language_model` are merged in place.
    """
    model = language_model.model
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    tokenizer, dropped = language_model.tokenizer, list[str]()
    if (end := language_model.speaks.text_end(tokenizer)) is not None:
        dropped = _dropped_end(tokenizer, end)
        tokenizer = plain_tokenizer(tokenizer, end)
        tokenizer.model_max_length = config.model.max_length
        dropped += _end_texts(model, tokenizer, config.search.max_thought_tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return dropped


def _end_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, length: int
) -> list[str]:
    """Have `generate` end where the tokenizer says, or behind `length` tokens; returns what was
    dropped of the model's generation settings."""
    text_config = model.config.get_text_config()
    text_config.eos_token_id = tokenizer.eos_token_id
    text_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config, unfit = _generation_settings(
        model.generation_config, tokenizer, length
    )
    return unfit


def plain_tokenizer(tokenizer: PreTrainedTokenizerFast, end: str) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of the same tokens for programs that do not know the marked language.

    It has the chat template and the special tokens of `tokenizer`, but its end of text is `end`,
    that of a thought. It adds nothing before or after a text, as none was there in training.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = None
    backend.no_padding()
    backend.no_truncation()
    pad = tokenizer.pad_token or tokenizer.eos_token or end
    plain = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **(tokenizer.special_tokens_map | {"eos_token": end, "pad_token": pad}),
        extra_special_tokens=tokenizer.extra_special_tokens,
        clean_up_tokenization_spaces=False,
    )
    plain.chat_template = tokenizer.chat_template
    return plain


def _dropped_end(tokenizer: PreTrainedTokenizerFast, end: str) -> list[str]:
    if tokenizer.eos_token in (None, end):
        return []
    return [f"the end of text {tokenizer.eos_token}, for a text ends at {end} now"]


def _generation_settings(
    base: GenerationConfig, tokenizer: PreTrainedTokenizerFast, length: int
) -> tuple[GenerationConfig, list[str]]:
    """Returns the base model's generation settings, but for how a text ends, and what was dropped
    of them: the limits of length, or all where the library refuses to write them."""
    ends: dict[str, Any] = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "max_new_tokens": length,
    }
    limits = [
        f"{name} {value} of its generation settings, for a thought has {length} tokens at most"
        for name in ("max_length", "max_new_tokens")
        if (value := getattr(base, name, None)) not in (None, length)
    ]
    kept = GenerationConfig.from_dict(base.to_dict() | ends | {"max_length": None})
    try:
        kept.validate(strict=True)
    except ValueError as error:
        cause = " ".join(str(error).split())
        return GenerationConfig(**ends), [
            f"its generation settings, which are faulty: {cause:.200}"
        ]
    return kept, limits
