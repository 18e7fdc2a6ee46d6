"""Activation checkpointing: activations are computed again in the backward pass, to save memory."""

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from llamao1_cli.errors import UserError


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Let the model's layers checkpoint while `let_layers_checkpoint` says so.

    Raises UserError for a model whose own dropout the layers' flags would switch on.
    """
    settings = model.config.to_dict()
    dropout = {k: v for k, v in settings.items() if "drop" in k and isinstance(v, float) and v}
    if dropout:
        raise UserError(
            f"learn.checkpoint_activations: the model has dropout ({dropout}), which checkpointing "
            "would switch on; set it to 0 in the model's config.json"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})


def let_layers_checkpoint(model: torch.nn.Module) -> None:
    """Set the training flag of each layer that checkpoints, without which Transformers does not
    checkpoint it; the modules inside, dropout among them, keep theirs."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True
