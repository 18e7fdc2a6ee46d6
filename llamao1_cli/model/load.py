"""Language models: load or build, add markers, adapt, save."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from llamao1_cli.config import LoraConfig, ModelConfig
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import check_model_folder
from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.choice import LanguageChoice
from llamao1_cli.language.marked import Meta
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.build import build_llama, build_tokenizer
from llamao1_cli.model.markers import add_marker_tokens, add_markers

# Notices of one library to another; nobody who runs a command can act on them.
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


MARKED = LanguageChoice("marked")


@dataclass(frozen=True)
class LanguageModel:
    """A model and its tokenizer, with all markers known to both if it speaks the marked
    language."""

    model: PreTrainedModel  # a PeftModel where LoRA is on
    tokenizer: PreTrainedTokenizerFast
    name: str
    speaks: LanguageChoice = MARKED

    def language(self, allowed_metas: Sequence[Meta], answers: AnswerForm = BOXED) -> Language:
        """Returns the language that the model speaks, by its tokenizer."""
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        return self.speaks.make(self.tokenizer, allowed_metas, answers, ends)


def load_model(
    config: ModelConfig, corpus: Sequence[str], seed: int, weights: Path | None = None
) -> LanguageModel:
    """Returns the configured model; `weights`, a folder that `save_model` wrote, replaces its
    weights.

    `corpus` trains the tokenizer of a model built from scratch, and `seed` its weights. Raises
    UserError for a model that cannot be loaded.
    """
    torch.manual_seed(seed)
    device = _device(config)
    dtype = getattr(torch, config.dtype)
    full = weights is not None and config.lora is None
    if full:
        model, tokenizer = _read(str(weights), None, dtype)
    elif config.path is not None:
        model, tokenizer = _read(config.path, config.gguf_file, dtype)
    else:
        tokenizer = build_tokenizer(corpus, config.build.vocabulary)
        model = build_llama(config.build, len(tokenizer), config.max_length).to(dtype)
    added = add_markers(model, tokenizer) if config.speaks.marks(tokenizer) else []
    _check_context(model, config.max_length)
    if config.lora is not None:
        model = _adapt(model, config.lora, added, weights)
    name = config.path or "built from scratch"
    name = f"{name}, {weights}" if weights else name
    return LanguageModel(model.to(device), tokenizer, name, config.speaks)


def load_tokenizer(config: ModelConfig, corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of the model that `load_model` would return, without its weights.

    Raises UserError for one that cannot be loaded.
    """
    if config.path is None:
        tokenizer = build_tokenizer(corpus, config.build.vocabulary)
    else:
        tokenizer = _read_tokenizer(config.path, config.gguf_file)
    if config.speaks.marks(tokenizer):
        add_marker_tokens(tokenizer)
    return tokenizer


def save_model(
    language_model: LanguageModel, folder: Path, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write the weights as safetensors (with LoRA, the adapter alone) and the tokenizer into
    `folder`; `weights` are the model's where its own are sharded.

    Raises OSError or SafetensorError where it cannot be written.
    """
    extra: dict[str, Any] = {} if weights is None else {"state_dict": dict(weights)}
    if isinstance(language_model.model, PeftModel):
        # The adapter holds the rows of new tokens; "auto" may add the whole embedding to it.
        extra["save_embedding_layers"] = False
    language_model.model.save_pretrained(folder, **extra)
    try:
        language_model.tokenizer.save_pretrained(folder)
    except Exception as error:  # what the library raises for a failed write is a bare Exception
        raise OSError(str(error)) from error


def _read(
    path: str, gguf_file: str | None, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = _read_tokenizer(path, gguf_file)
    with _loading(path):
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=gguf_file is None or None, **_options(gguf_file)
        )
    if gguf_file is not None:
        # The weights are unpacked by now; transformers refuses to save a model it calls quantised.
        model.hf_quantizer = None
        del model.config.quantization_config
    return model, tokenizer


def _read_tokenizer(path: str, gguf_file: str | None) -> PreTrainedTokenizerFast:
    folder = Path(path)
    if folder.exists() or path.startswith((".", "/", "~")):
        _check_folder(folder, gguf_file)
    with _loading(path):
        tokenizer = AutoTokenizer.from_pretrained(path, **_options(gguf_file))
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(f"model.path: {path} has no fast tokenizer (tokenizer.json); convert it")
    return tokenizer


def _options(gguf_file: str | None) -> dict[str, Any]:
    extra: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
    # Else the library asks, and runs what the model brings.
    return extra | {"trust_remote_code": False}


@contextmanager
def _loading(path: str) -> Iterator[None]:
    """Inside, whatever the library raises becomes a UserError: many kinds mean no model folder."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"model.path: {path} needs a missing package: {_one_line(error)}") from None
    except Exception as error:
        raise UserError(f"model.path: {path} cannot be loaded: {_one_line(error)}") from None


def _check_folder(folder: Path, gguf_file: str | None) -> None:
    if not folder.is_dir():
        raise UserError(f"model.path: {folder}: no such folder; check the path")
    check_model_folder("model.path", folder)
    if gguf_file is not None:
        if not (folder / gguf_file).is_file():
            raise UserError(f"model.gguf_file: {folder / gguf_file}: no such file")
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path: {folder} holds no config.json; give a model folder")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"model.path: {folder} holds no weights (*.safetensors); save the model as safetensors"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_context(model: PreTrainedModel, max_length: int) -> None:
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None) or max_length
    if max_length > limit:
        raise UserError(
            f"model.max_length is {max_length}, but the model reads {limit} tokens at most"
        )


def _adapt(
    model: PreTrainedModel, lora: LoraConfig, added: list[int], weights: Path | None
) -> PreTrainedModel:
    if weights is not None:
        return _adapted(model, weights)
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    modules = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    config = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
        trainable_token_indices=dict.fromkeys(modules, added) if added else None,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"model.lora.targets: {lora.targets} do not fit: {_one_line(error)}"
        ) from None


def _adapted(model: PreTrainedModel, weights: Path) -> PreTrainedModel:
    """Returns the model with an adapter that `save_model` wrote."""
    file = weights / "adapter_model.safetensors"
    if not file.is_file():  # in its absence the library would unpickle another
        raise UserError(f"{file}: no such file; name a run that trained with model.lora")
    try:
        return PeftModel.from_pretrained(model, weights, is_trainable=True)
    except Exception as error:  # as in `_read`
        raise UserError(f"{weights}: the adapter cannot be loaded: {_one_line(error)}") from None


def _device(config: ModelConfig) -> str:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("model.device is cuda, but torch sees no GPU; use auto or cpu")
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device
