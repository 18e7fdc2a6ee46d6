"""The shape of a configured model without its weights."""

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from llamao1_cli.config import Config
from llamao1_cli.engine.builtin.weights import shape_of
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import MARKERS
from llamao1_cli.model.build import OWN_NUMBERS, build_llama
from llamao1_cli.plan.memory import FLOAT, ModelShape


def model_shape(config: Config) -> ModelShape:
    """Returns the shape of the configured model; no weight is read or made.

    A model built from scratch counts with the largest vocabulary allowed. Raises UserError for a
    model that is not there.
    """
    settings = config.model
    with torch.device("meta"):
        if settings.path is None:
            vocabulary = settings.build.vocabulary + len(MARKERS) + len(OWN_NUMBERS)
            model = build_llama(settings.build, vocabulary, settings.max_length)
        else:
            model = AutoModelForCausalLM.from_config(
                _read_config(settings.path, settings.gguf_file)
            )
        if settings.lora is not None:
            lora = PeftLoraConfig(
                r=settings.lora.rank, target_modules=settings.lora.targets, task_type="CAUSAL_LM"
            )
            model = get_peft_model(model, lora)
    token = shape_of(model)
    adapters = [p.numel() for n, p in model.named_parameters() if ".lora_" in n]
    itemsize = getattr(torch, settings.dtype).itemsize
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()) - sum(adapters),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        layers=token.layers,
        hidden=model.config.get_text_config().hidden_size,
        heads=token.heads,
        head_width=token.width,
        vocabulary=model.config.get_text_config().vocab_size,
        itemsize=itemsize,
        trained_itemsize=itemsize if settings.lora is None else FLOAT,
        rollout_itemsize=getattr(torch, config.engine.dtype or settings.dtype).itemsize,
    )


def _read_config(path: str, gguf_file: str | None) -> AutoConfig:
    extra = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        return AutoConfig.from_pretrained(path, **extra)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"model.path: {path}: its config.json cannot be read: {why}") from None
