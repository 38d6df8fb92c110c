"""relu(max_pool(batch_norm(conv(images)))) of images of 1 to 3 channels, in training and in evaluation.

The kernels are in first_layer_kernels. Products are of float32 whatever the precision of the body.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor, nn

from collapse.training.kernels.batch_norm import (
    blocks_of,
    images_like,
    in_evaluation,
    in_order,
    parts_of,
    pooled,
    rows_at_once,
    rows_of,
    tile,
)
from collapse.training.kernels.first_layer_kernels import (
    first_gradient_kernel,
    first_layer_kernel,
    first_sums_kernel,
    fold_kernel,
    moments_kernel,
)
from collapse.training.steps import to_OHWI, to_OIHW

MOST_CHANNELS = 3  # of the images: more make a patch too wide for one product
LEAST = 16  # channels of a program that multiplies matrices
FEW = 16  # channels of a program of the kernels that see no pixel


class FirstLayer(torch.autograd.Function):
    """relu(max_pool(batch_norm(conv(images)))) in training; the images get no gradient, nor does the bias."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor,
        norm: nn.BatchNorm2d, bias: Tensor, pool: bool, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        images, weight = in_order(images), to_OHWI(weight).contiguous()
        N, CI, H, W = images.shape
        C, K, KP = len(weight), 9 * CI, padded(CI)
        per_part, parts = parts_of(N * H * W, 1, rows_at_once(False))
        moments = torch.empty(parts, KP, KP, dtype=torch.float64, device=images.device)
        moments_kernel[(parts,)](
            images, moments, N * H * W, H, W, per_part, CI=CI, KP=KP, BR=rows_at_once(False)
        )
        moments = moments.sum(0)
        folded, spread = torch.empty(2, KP, C, device=images.device)
        inverse = torch.empty(C, device=images.device)
        fold_kernel[(triton.cdiv(C, FEW),)](
            moments, weight, gamma, beta, bias, norm.running_mean, norm.running_var, norm.num_batches_tracked,
            folded, spread, inverse, C, norm.momentum, norm.eps, K=K, KP=KP, BC=FEW,
        )  # fmt: skip
        ctx.save_for_backward(images, weight, gamma, folded, moments, spread, inverse)
        ctx.pool = pool
        return applied(images, folded, pool=pool, dtype=dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, gamma, folded, moments, spread, inverse = ctx.saved_tensors
        gradient, pool = in_order(gradient), ctx.pool
        _, CI, H, W = images.shape
        C, K, KP = len(weight), 9 * CI, padded(CI)
        R, _ = rows_of(images, pool)
        per_part, parts = parts_of(R, C, rows_at_once(pool))
        sums = torch.empty(parts, KP, C, device=images.device)
        first_sums_kernel[(parts, blocks_of(C))](
            gradient, images, folded, sums, R, H, W, C, per_part,
            POOL=pool, CI=CI, KP=KP, **tile(max(C, LEAST), pool),
        )  # fmt: skip
        of_weight, (of_gamma, of_beta) = torch.empty_like(weight), torch.empty(2, C, device=images.device)
        first_gradient_kernel[(triton.cdiv(C, FEW),)](
            sums.sum(0), moments, weight, spread, inverse, gamma, of_weight, of_gamma, of_beta, C,
            K=K, KP=KP, BC=FEW,
        )  # fmt: skip
        return None, to_OIHW(of_weight), of_gamma, of_beta, None, None, None, None


def in_evaluation_from(
    images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, *, pool: bool, dtype: torch.dtype
) -> Tensor:
    """The same of a network in evaluation, by its running statistics."""
    mean, inverse = in_evaluation(norm, conv.bias)
    scale, C = norm.weight * inverse, conv.out_channels
    folded = torch.zeros(padded(conv.in_channels), C, device=images.device)
    folded[: 9 * conv.in_channels] = to_OHWI(conv.weight).reshape(C, -1).T * scale
    folded[9 * conv.in_channels] = norm.bias - mean * scale
    return applied(in_order(images), folded, pool=pool, dtype=dtype)


def applied(images: Tensor, folded: Tensor, *, pool: bool, dtype: torch.dtype) -> Tensor:
    """relu(max_pool(folded.(p, 1))) at every pixel."""
    (N, CI, H, W), (KP, C) = images.shape, folded.shape
    R, _ = rows_of(images, pool)
    _, _, OH, OW = pooled(images.shape) if pool else images.shape
    out = images_like(images, (N, C, OH, OW), dtype)
    first_layer_kernel[(triton.cdiv(R, rows_at_once(pool)), blocks_of(C))](
        images, folded, out, R, H, W, C, POOL=pool, CI=CI, KP=KP, **tile(max(C, LEAST), pool)
    )
    return out


def padded(channels: int) -> int:
    """How many numbers a patch and its one take, padded to a power of two."""
    return triton.next_power_of_2(9 * channels + 1)
