"""BatchNorm for images whose channels lie together in memory (channels_last), as exact there as elsewhere.

On a CPU channels_last is faster throughout, but PyTorch's BatchNorm then adds up a channel's values one after
the other in float32, 131,072 of them in ResNet9's first layer: the first batch's logits and gradients are ten
times as far from float64's as in the other layout, and further where rounding picks another maximum. Here
the statistics are added up in many short sums, and these in float64; all else is PyTorch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# So many values of a channel PyTorch may add up one after the other: more are split into short sums.
MOST_ADDED = 4096
# All channels together have no more sums than this.
MOST_SUMS = 4096


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d; in training on a CPU with accurate statistics of images in channels_last."""

    def forward(self, images_NCHW: Tensor) -> Tensor:
        size = images_NCHW.numel() // self.num_features
        on_cpu = images_NCHW.device.type == "cpu" and images_NCHW.dtype is not torch.bfloat16
        if not (self.training and on_cpu and size > MOST_ADDED):
            return super().forward(images_NCHW)
        self.num_batches_tracked += 1
        mean_C, variance_C = channel_statistics(images_NCHW.detach())
        unbiased_C = variance_C * (size / (size - 1))
        for running, new in ((self.running_mean, mean_C), (self.running_var, unbiased_C)):
            running.lerp_(new.to(running.dtype), self.momentum)
        return Normalise.apply(images_NCHW, self.weight, self.bias, mean_C, variance_C, self.eps)


def channel_statistics(images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every channel of images in channels_last, float64 (C,)."""
    N, C, H, W = images_NCHW.shape
    parts = 1
    while (N * H * W) % (2 * parts) == 0 and 2 * parts * C <= MOST_SUMS:
        parts *= 2
    # Every parts-th pixel belongs to one sum: as if there were `parts` times as many channels.
    pixels = images_NCHW.permute(0, 2, 3, 1).reshape(-1, parts * C)
    means, variances = (
        part.view(parts, C).double() for part in torch.batch_norm_update_stats(pixels, None, None, 0.0)
    )
    between, mean_C = torch.var_mean(means, 0, correction=0)
    return mean_C, variances.mean(0) + between


class Normalise(torch.autograd.Function):
    """weight (x - mean) / sqrt(variance + eps) + bias, the gradient through mean and variance too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        inverse = (variance + eps).rsqrt().to(x.dtype)
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.eps = eps
        return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse, True, ctx.eps, [True, True, True]
        )
        return of_x, of_weight, of_bias, None, None, None
