"""relu(max_pool(batch_norm(y))) + residual of a convolution's output y, in training and in evaluation.

The kernels are in batch_norm_kernels. All images are in channels_last, statistics in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor, nn

from collapse.training.kernels.batch_norm_kernels import (
    gradient_kernel,
    join_kernel,
    normalise_kernel,
    statistics_kernel,
    sums_kernel,
)

PROGRAMS = 1024  # at most, of a pass that ends in sums: eight for each multiprocessor of an H100
CHANNELS = 64  # of a program, at most
FEW = 8  # channels of a program of join_kernel


class BatchNormReLU(torch.autograd.Function):
    """relu(max_pool(batch_norm(y))) + residual in training; y comes without the bias of its convolution."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, residual: Tensor | None, gamma: Tensor, beta: Tensor,
        norm: nn.BatchNorm2d, bias: Tensor, pool: bool,
    ) -> Tensor:  # fmt: skip
        y = in_order(y)
        N, C, H, W = y.shape
        n, (R, PW) = N * H * W, rows_of(y, pool)
        per_part, parts = parts_of(R, C, rows_at_once(pool))
        means, squares = torch.empty(2, parts, C, device=y.device)
        v = images_like(y, pooled(y.shape)) if pool else y
        statistics_kernel[(parts, blocks_of(C))](
            y, gamma, v, means, squares, R, C, PW, per_part, POOL=pool, **tile(C, pool)
        )
        mean, inverse = torch.empty(2, C, device=y.device)
        join_kernel[(triton.cdiv(C, FEW),)](
            means, squares, bias, norm.running_mean, norm.running_var, norm.num_batches_tracked, mean,
            inverse, parts, per_part * (4 if pool else 1), n, C, norm.momentum, norm.eps,
            P=triton.next_power_of_2(parts), BC=FEW, num_warps=8,
        )  # fmt: skip
        ctx.save_for_backward(y, v, gamma, beta, mean, inverse)
        ctx.pool, ctx.residual = pool, residual is not None
        return normalised(v, residual, mean, inverse, gamma, beta, pool=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, v, gamma, beta, mean, inverse = ctx.saved_tensors
        gradient, pool, C = in_order(gradient), ctx.pool, y.shape[1]
        R, PW = rows_of(y, pool)
        per_part, parts = parts_of(R, C, rows_at_once(False))
        sums = torch.empty(2, parts, C, device=y.device)
        sums_kernel[(parts, blocks_of(C))](
            gradient, v, mean, inverse, gamma, beta, *sums, R, C, per_part, **tile(C, False)
        )
        of_beta, of_gamma = sums.sum(1)
        out = images_like(y, y.shape)
        gradient_kernel[(triton.cdiv(R, rows_at_once(pool)), blocks_of(C))](
            gradient, y, mean, inverse, gamma, beta, of_beta, of_gamma, out, R, C, PW, C / y.numel(),
            POOL=pool, **tile(C, pool),
        )  # fmt: skip
        return out, gradient if ctx.residual else None, of_gamma, of_beta, None, None, None


def normalised(
    v: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    pool: bool,
) -> Tensor:
    """relu(max_pool(gamma (v - mean) inverse + beta)) + residual, in one pass."""
    v, C = in_order(v), v.shape[1]
    R, PW = rows_of(v, pool)
    out = images_like(v, pooled(v.shape) if pool else v.shape)
    residual_or_any = v if residual is None else in_order(residual)
    normalise_kernel[(triton.cdiv(R, rows_at_once(pool)), blocks_of(C))](
        v, residual_or_any, mean, inverse, gamma, beta, out, R, C, PW,
        POOL=pool, RESIDUAL=residual is not None, **tile(C, pool),
    )  # fmt: skip
    return out


def in_evaluation(norm: nn.BatchNorm2d, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation by which BatchNorm normalises a convolution's output without its bias."""
    return norm.running_mean - bias, (norm.running_var + norm.eps).rsqrt()


def rows_of(y: Tensor, pool: bool) -> tuple[int, int]:
    """How many pixels the images have, or would have pooled, and how many of them lie side by side."""
    N, _, H, W = pooled(y.shape) if pool else y.shape
    return N * H * W, W


def pooled(shape: Sequence[int]) -> tuple[int, ...]:
    """Of images (N, C, H, W) after a max-pool of 2 x 2."""
    N, C, H, W = shape
    return N, C, H // 2, W // 2


def images_like(y: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Memory for images in channels_last, where y is and of its type or another."""
    return torch.empty(shape, dtype=dtype or y.dtype, device=y.device, memory_format=torch.channels_last)


def in_order(images: Tensor) -> Tensor:
    """The same images, a pixel's channels together in memory and nothing between."""
    return images.contiguous(memory_format=torch.channels_last)


def rows_at_once(pool: bool) -> int:
    """Of a program: half as many where each is four pixels."""
    return 16 if pool else 32


def tile(channels: int, pool: bool) -> dict[str, int]:
    """Rows and channels that a program has at a time."""
    return {"BR": rows_at_once(pool), "BC": min(CHANNELS, triton.next_power_of_2(channels))}


def blocks_of(channels: int) -> int:
    """How many programs share the channels of a row."""
    return triton.cdiv(channels, CHANNELS)


def parts_of(rows: int, channels: int, at_once: int) -> tuple[int, int]:
    """How many rows a part of a sum has, a multiple of those at once, and how many parts that makes."""
    per_part = at_once * max(1, triton.cdiv(rows * blocks_of(channels), at_once * PROGRAMS))
    return per_part, triton.cdiv(rows, per_part)
