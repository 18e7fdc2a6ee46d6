"""Activations that are computed again in the backward pass, to save memory."""

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from llamao1_cli.errors import UserError


def _enable_checkpoints(model: PreTrainedModel) -> None:
    """Raises UserError for a model whose own dropout the layers' flags would switch on."""
    settings = model.config.to_dict()
    dropout = {k: v for k, v in settings.items() if "drop" in k and isinstance(v, float) and v}
    if dropout:
        raise UserError(
            f"learn.checkpoint_activations: the model has dropout ({dropout}), which checkpointing "
            "would switch on; set it to 0 in the model's config.json"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})


def let_layers_checkpoint(model: torch.nn.Module) -> None:
    """Transformers checkpoints a layer that is to be while the layer's own flag says that it
    trains; the flags of the modules inside, dropout's among them, stay as they are."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True
