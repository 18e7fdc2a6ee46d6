"""The engine that a configuration asks for."""

import torch
from transformers import PreTrainedModel

from llamao1_cli.config import EngineConfig
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.engine.protocol import Engine
from llamao1_cli.engine.vllm.engine import VllmEngine
from llamao1_cli.errors import UserError
from llamao1_cli.language.protocol import Language


def make_engine(
    settings: EngineConfig,
    model: PreTrainedModel,
    language: Language,
    *,
    dtype: str,
    max_length: int,
    show_ratings: bool,
) -> Engine:
    """Returns the configured engine on a copy of the model's weights, of the model's `dtype` unless
    the settings name another; paths are at most `max_length` tokens long.

    Raises UserError for an architecture it does not run, or a back end that is not installed.
    """
    if settings.backend == "vllm" and not language.rates:
        raise UserError("engine.backend: vllm does not speak the chat language; use builtin")
    backend = VllmEngine if settings.backend == "vllm" else TreeEngine
    return backend(
        model,
        language,
        dtype=getattr(torch, settings.dtype or dtype),
        rows=settings.rows,
        memory=int(settings.memory_gib * 2**30),
        max_length=max_length,
        show_ratings=show_ratings,
    )
