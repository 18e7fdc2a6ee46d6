"""Linear layers whose weights are laid out once as the CPU's matrix products need them.

A plain linear layer rearranges its weights in every call; for the few rows of a decoding step that
costs as much as the product.
"""

import torch
from torch import Tensor, nn

ROWS = 32  # the product is laid out for steps of about so many rows
MIN_WEIGHTS = 2**18  # of a layer; in a smaller one, preparing the product costs more than it saves


class PackedLinear(nn.Module):
    """A linear layer for inference on CPU; `pack` sets its weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype, self.bias = linear.weight.dtype, linear.bias
        self.pack(linear.weight)

    def pack(self, weight: Tensor) -> None:
        """Take over weights `[out, in]` of any data type."""
        plain = weight.detach().to(self.dtype).contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(plain, ROWS)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns the outputs `[..., out]` of `rows` `[..., in]`."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._packed, self.bias, "none", [], ""
        )
        return product


def pack_linears(model: nn.Module) -> None:
    """Replace the model's larger linear layers by packed ones, where PyTorch and the processor
    support them."""
    parameter = next(model.parameters())
    if not _packable(parameter):
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and child.weight.numel() >= MIN_WEIGHTS:
                setattr(module, name, PackedLinear(child))


def _packable(parameter: Tensor) -> bool:
    if parameter.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    bfloat16 = parameter.dtype == torch.bfloat16
    return not bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
