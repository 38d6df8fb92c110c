"""A network by the kernels: its features, and in training the gradients of all parameters, each written once.

The network stays as it is: its modules say what is computed, its parameters and buffers are used and updated.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures import Network
from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.network import GlobalMaxPool, RequireImageSize, Residual
from collapse.training.kernels.batch_norm import BatchNormReLU, in_evaluation, normalised
from collapse.training.kernels.first_layer import MOST_CHANNELS, FirstLayer, in_evaluation_from
from collapse.training.steps import FlatParameters, to_OHWI

Weights = dict[int, Tensor]  # of convolutions, by the identity of the parameter


def fused_body(module: nn.Module, x: Tensor, weights: Weights | None = None) -> Tensor:
    """What module(x) is, blocks and residual sums by the kernels. weights: in the place of parameters."""
    if is_block(module):
        return fused_block(module, x, weights=weights)
    if isinstance(module, Residual):
        *others, last = module.blocks
        inner = x
        for block in others:
            inner = fused_block(block, inner, weights=weights)
        return fused_block(last, inner, residual=x, weights=weights)
    if isinstance(module, nn.Sequential):
        for part in module:
            x = fused_body(part, x, weights)
        return x
    return module(x)


def fused_block(
    block: nn.Sequential, x: Tensor, *, residual: Tensor | None = None, weights: Weights | None = None
) -> Tensor:
    """relu(max_pool(batch_norm(conv(x)))) + residual, in training or in evaluation as the block is."""
    conv, norm, pool = block[0], block[1], has_pool(block)
    weight = (weights or {}).get(id(conv.weight), conv.weight)
    if conv.in_channels <= MOST_CHANNELS and residual is None and not x.requires_grad:
        dtype = dtype_of(x)
        if not block.training:
            return in_evaluation_from(x, conv, norm, pool=pool, dtype=dtype)
        return FirstLayer.apply(x, weight, norm.weight, norm.bias, norm, conv.bias, pool, dtype)
    y = functional.conv2d(x, weight, None, conv.stride, conv.padding)
    if not block.training:
        return normalised(y, residual, *in_evaluation(norm, conv.bias), norm.weight, norm.bias, pool=pool)
    return BatchNormReLU.apply(y, residual, norm.weight, norm.bias, norm, conv.bias, pool)


def dtype_of(x: Tensor) -> torch.dtype:
    """What a convolution of x gives here."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def is_block(module: nn.Module) -> bool:
    """Whether it is a `convolution_block` (collapse.architectures.network)."""
    kinds = [type(part) for part in module] if isinstance(module, nn.Sequential) else []
    return kinds in ([nn.Conv2d, BatchNorm2d, nn.ReLU], [nn.Conv2d, BatchNorm2d, nn.MaxPool2d, nn.ReLU])


def has_pool(block: nn.Sequential) -> bool:
    """Whether a block halves its images."""
    return len(block) == 4


def lacks_kernels(module: nn.Module, size: int) -> tuple[str, int]:
    """Why a module has no kernels for images of size x size pixels, or nothing; and their size after it."""
    if is_block(module):
        if not has_pool(module):
            return "", size
        return f"a max-pool of {size} x {size} pixels has no kernel" if size % 2 else "", size // 2
    if isinstance(module, Residual):
        if module.shortcut is not None:
            return "a residual block with a projection has no kernel", size
        module = module.blocks
    if isinstance(module, nn.Sequential):
        for part in module:
            reason, size = lacks_kernels(part, size)
            if reason:
                return reason, size
        return "", size
    known = isinstance(module, RequireImageSize | GlobalMaxPool | nn.Flatten)
    return "" if known else f"{type(module).__name__} has no kernel", size


def written_gradients(network: Network, flat: FlatParameters, batch: Tensor, labels: Tensor) -> Tensor:
    """As `accumulated_gradients` (collapse.training.steps), each gradient copied once into its place.

    In bfloat16 the weights of convolutions are views of one rounded copy of the flat vector, and so are their
    gradients rounded: one kernel for all instead of two for each. Bytes a parameter: 8 of float32, 12 of
    bfloat16.
    """
    parameters = list(network.parameters())
    leaves = rounded(parameters, flat) if network.precision == "bfloat16" else parameters
    weights = dict(zip(map(id, parameters), leaves, strict=True))
    loss = functional.cross_entropy(
        network(batch, body=partial(fused_body, network.body, weights=weights)), labels
    )
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    pieces = flat.gradients.split([parameter.numel() for parameter in parameters])
    found = [
        (piece, to_OHWI(gradient).reshape(-1))
        for piece, gradient in zip(pieces, gradients, strict=True)
        if gradient is not None
    ]
    for dtype in dict.fromkeys(gradient.dtype for _, gradient in found):  # of one type they are one kernel
        its = [pair for pair in found if pair[1].dtype is dtype]
        torch._foreach_copy_([piece for piece, _ in its], [gradient for _, gradient in its])
    if unused := [piece for piece, gradient in zip(pieces, gradients, strict=True) if gradient is None]:
        torch._foreach_zero_(unused)
    return loss.detach()


def rounded(parameters: list[nn.Parameter], flat: FlatParameters) -> list[Tensor]:
    """The parameters, for the weights of convolutions their values in bfloat16."""
    copies = flat.pieces(flat.values.to(torch.bfloat16))
    return [
        copy.requires_grad_() if parameter.ndim == 4 else parameter
        for parameter, copy in zip(parameters, copies, strict=True)
    ]
