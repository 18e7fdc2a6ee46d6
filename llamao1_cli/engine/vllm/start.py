"""vLLM started inside this process, on a plain copy of a model."""

import os
import tempfile
from typing import Any

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.weights import plain_copy, shape_of
from llamao1_cli.engine.vllm.chooser import TokenChooser
from llamao1_cli.engine.vllm.processor import processor_for
from llamao1_cli.errors import UserError

CACHE_BLOCK = 32  # tokens; prefixes are found again by whole blocks, and CPU takes no smaller ones


def start_vllm(
    model: PreTrainedModel,
    chooser: TokenChooser,
    *,
    dtype: torch.dtype,
    rows: int,
    memory: int,
    max_length: int,
) -> Any:
    """Returns vLLM's `LLM` with the model's weights, whose tokens are those of `chooser`.

    Raises UserError where vLLM is not installed, or where the memory does not hold one path.
    """
    llm = _import_llm()
    plain = plain_copy(model, dtype)
    # A request that vLLM puts off would be read in parts: every row's longest path has room.
    paths = _paths_in(memory, shape_of(plain).token_bytes, max_length)
    with tempfile.TemporaryDirectory(prefix="llamao1-") as folder:
        plain.save_pretrained(folder)
        del plain
        return llm(
            model=folder,
            skip_tokenizer_init=True,
            dtype=str(dtype).removeprefix("torch."),
            max_model_len=max_length + 1,  # it wants room for one token more
            max_num_seqs=min(rows, paths),
            kv_cache_memory_bytes=memory,
            enable_prefix_caching=True,
            block_size=CACHE_BLOCK,
            gpu_memory_utilization=_free_share(),
            async_scheduling=False,
            logits_processors=[processor_for(chooser)],
            disable_log_stats=True,
            seed=0,
        )


def _import_llm() -> Any:
    # In this process, or the rows could not be reached from inside.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # it takes logits processors of another kind
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        from vllm import LLM
    except ImportError as error:
        raise UserError(
            "engine.backend is vllm, which is not installed: pip install 'llamao1-cli[vllm]' "
            f"({error})"
        ) from None
    return LLM


def _paths_in(memory: int, token_bytes: int, max_length: int) -> int:
    """Returns how many paths of the greatest length fit into `memory` bytes."""
    blocks = memory // (token_bytes * CACHE_BLOCK) - 1  # vLLM keeps one for itself
    paths = blocks // -(-(max_length + 1) // CACHE_BLOCK)
    if paths < 1:
        raise UserError(
            "engine.memory_gib: not even one path of model.max_length fits; raise the one or "
            "lower the other"
        )
    return paths


def _free_share() -> float:
    """Returns the share of the GPU that is free beside the trainer; vLLM must find it free."""
    if not torch.cuda.is_available():
        return 0.9
    free, total = torch.cuda.mem_get_info()
    return 0.95 * free / total
