"""A trained model as a plain Hugging Face folder: adapters merged, one tokenizer, one end."""

from pathlib import Path

from peft import PeftModel
from tokenizers import Tokenizer
from transformers import GenerationConfig, PreTrainedTokenizerFast

from llamao1_cli.config import Config
from llamao1_cli.language.marked import THOUGHT_END
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


def save_plain(language_model: LanguageModel, folder: Path, config: Config) -> None:
    """Write weights (safetensors), configuration, generation settings and tokenizer.

    `generate` ends where a thought does. The adapters of `language_model` are merged in place.
    """
    model = language_model.model
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    tokenizer = plain_tokenizer(language_model.tokenizer)
    tokenizer.model_max_length = config.model.max_length
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text_config = model.config.get_text_config()
    text_config.bos_token_id = None
    text_config.eos_token_id, text_config.pad_token_id = ends["eos_token_id"], ends["pad_token_id"]
    length = config.search.max_thought_tokens
    model.generation_config = GenerationConfig(max_new_tokens=length, **ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of the same tokens for programs that do not know the marked language.

    Its end of text is the end of a thought. It adds nothing before or after a text, as none was
    there in training.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = None
    backend.no_padding()
    backend.no_truncation()
    pad = tokenizer.pad_token or tokenizer.eos_token or THOUGHT_END
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=THOUGHT_END,
        pad_token=pad,
        clean_up_tokenization_spaces=False,
    )
