"""The first block of a network, from images of 1 to 3 channels, as Triton kernels.

K = 9 CI numbers of an image make the patch p about a pixel, zero outside the image and followed by a one; KP
is the power of two above K. The convolution and BatchNorm after it are one product,

    gamma (w.p - mean) / std + beta = folded.(p, 1),    folded = (gamma w / std, beta - gamma mean / std),

so a max-pool takes the largest of four of them. Mean and variance of w.p need no pass over it: they are w.mu
and w'Sw with mean mu and covariance S of the patches. And the weight's gradient needs none over dy:

    sum_r p dy = gamma / std (G - s mu - of_gamma / std S w),    G = sum_r p z,    s = sum_r z = of_beta,
    of_gamma = w.(G - s mu) / std,

z being the gradient where pool and ReLU let it through. So y and dy exist in no memory. A weight is (C, K), K
in the order of OHWI. A row is a pixel of what the block hands on, with POOL of the pooled image.
"""

from __future__ import annotations

import triton
import triton.language as tl

from collapse.training.kernels.batch_norm_kernels import SIZES, channel, keep_running, largest


@triton.jit
def place(rows, H, W, POOL: tl.constexpr):
    """Image, line and column of a row's pixel, with POOL of the upper left one of its four."""
    if POOL:
        line = rows // (W // 2)
        return line // (H // 2), (line % (H // 2)) * 2, (rows % (W // 2)) * 2
    else:
        line = rows // W
        return line // H, line % H, rows % W


@triton.jit
def patches(images, n, h, w, inside, H, W, CI: tl.constexpr, KP: tl.constexpr):
    """(rows, KP): the patch about pixel (h, w) of image n and a one after it; zero where not inside."""
    k = tl.arange(0, KP)[None, :]
    hh = h[:, None] + k // (3 * CI) - 1
    ww = w[:, None] + (k // CI) % 3 - 1
    there = inside[:, None] & (k < 9 * CI) & (hh >= 0) & (hh < H) & (ww >= 0) & (ww < W)
    at = ((n[:, None] * H + hh) * W + ww) * CI + k % CI
    return tl.load(images + at, mask=there, other=0.0) + tl.where((k == 9 * CI) & inside[:, None], 1.0, 0.0)


@triton.jit
def product(x, y):
    """x @ y of float32, nearly as exact as that: in three products of TF32."""
    return tl.dot(x, y, input_precision="tf32x3")


@triton.jit(do_not_specialize=SIZES)
def moments_kernel(images, moments, R, H, W, per_part,
                   CI: tl.constexpr, KP: tl.constexpr, BR: tl.constexpr):  # fmt: skip
    """Of each part of the pixels the sum of (p, 1) (p, 1)', in float64. Reads the images."""
    part = tl.program_id(0)
    stop = tl.minimum((part + 1) * per_part, R)
    total = tl.zeros([KP, KP], dtype=tl.float64)
    for r in range(part * per_part, stop, BR):
        rows = r + tl.arange(0, BR)
        n, h, w = place(rows, H, W, False)
        p = patches(images, n, h, w, rows < stop, H, W, CI, KP).to(tl.float64)
        total += tl.dot(tl.trans(p), p, out_dtype=tl.float64)
    k = tl.arange(0, KP)
    tl.store(moments + part * KP * KP + k[:, None] * KP + k[None, :], total)


@triton.jit
def fold_kernel(moments, weight, gamma, beta, bias, running_mean, running_var, tracked, folded, spread,
                inverse, C, momentum, eps, K: tl.constexpr, KP: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """From the moments folded (KP, C), spread = S w (KP, C), 1 / std and the running statistics."""
    columns = tl.program_id(0) * BC + tl.arange(0, BC)
    here = columns < C
    k = tl.arange(0, KP)
    kernel_at = weight + columns[None, :] * K
    w = tl.load(kernel_at + k[:, None], mask=(k < K)[:, None] & here[None, :], other=0.0).to(tl.float64)
    number = tl.load(moments + K * KP + K)
    mu = tl.load(moments + K * KP + k, mask=k < K, other=0.0) / number
    mean = tl.sum(w * mu[:, None], axis=0)
    of_weight = tl.zeros([KP, BC], dtype=tl.float64)
    for j in tl.static_range(K):
        covariance = tl.load(moments + j * KP + k, mask=k < K, other=0.0) / number
        covariance -= mu * (tl.load(moments + K * KP + j) / number)
        of_weight += covariance[:, None] * tl.load(kernel_at + j, mask=here[None, :], other=0.0).to(
            tl.float64
        )
    variance = tl.sum(w * of_weight, axis=0)
    variance = tl.where(variance < 0.0, 0.0, variance)  # so written, NaN stays
    i = 1.0 / tl.sqrt(variance + eps)
    scale = channel(gamma, columns, here) * i[None, :]
    shift = channel(beta, columns, here) - scale * mean[None, :]
    row = tl.where((k < K)[:, None], w * scale, tl.where((k == K)[:, None], shift, 0.0))
    at = k[:, None] * C + columns[None, :]
    tl.store(folded + at, row.to(tl.float32), mask=here[None, :])
    tl.store(spread + at, of_weight.to(tl.float32), mask=here[None, :])
    tl.store(inverse + columns, i.to(tl.float32), mask=here)
    keep_running(mean, variance, bias, running_mean, running_var, tracked, columns, here, number, momentum)


@triton.jit(do_not_specialize=SIZES)
def first_layer_kernel(images, folded, out, R, H, W, C, POOL: tl.constexpr, CI: tl.constexpr,
                       KP: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """out = relu(folded.(p, 1)), with POOL of the largest of four. Reads the images, writes out."""
    rows = tl.program_id(0) * BR + tl.arange(0, BR)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    inside, here = rows < R, columns < C
    k = tl.arange(0, KP)
    f = tl.load(folded + k[:, None] * C + columns[None, :], mask=here[None, :], other=0.0)
    n, h, w = place(rows, H, W, POOL)
    x = product(patches(images, n, h, w, inside, H, W, CI, KP), f)
    if POOL:
        b = product(patches(images, n, h, w + 1, inside, H, W, CI, KP), f)
        c = product(patches(images, n, h + 1, w, inside, H, W, CI, KP), f)
        d = product(patches(images, n, h + 1, w + 1, inside, H, W, CI, KP), f)
        x, _ = largest(x, b, c, d)
    x = tl.where(x <= 0.0, 0.0, x)
    at = rows[:, None] * C + columns[None, :]
    tl.store(out + at, x.to(out.dtype.element_ty), mask=inside[:, None] & here[None, :])


@triton.jit(do_not_specialize=SIZES)
def first_sums_kernel(gradient, images, folded, sums, R, H, W, C, per_part, POOL: tl.constexpr,
                      CI: tl.constexpr, KP: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """Of each part of the rows (G, s), (KP, C). Reads the gradient and the images."""
    part = tl.num_programs(0) - 1 - tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    here = columns < C
    stop = tl.minimum((part + 1) * per_part, R)
    k = tl.arange(0, KP)
    f = tl.load(folded + k[:, None] * C + columns[None, :], mask=here[None, :], other=0.0)
    total = tl.zeros([KP, BC], dtype=tl.float32)
    for r in range(part * per_part, stop, BR):
        rows = r + tl.arange(0, BR)
        inside = rows < stop
        at = rows[:, None] * C + columns[None, :]
        z = tl.load(gradient + at, mask=inside[:, None] & here[None, :], other=0.0).to(tl.float32)
        n, h, w = place(rows, H, W, POOL)
        pa = patches(images, n, h, w, inside, H, W, CI, KP)
        a = product(pa, f)
        if POOL:
            pb = patches(images, n, h, w + 1, inside, H, W, CI, KP)
            pc = patches(images, n, h + 1, w, inside, H, W, CI, KP)
            pd = patches(images, n, h + 1, w + 1, inside, H, W, CI, KP)
            best, which = largest(a, product(pb, f), product(pc, f), product(pd, f))
            z = tl.where(best <= 0.0, 0.0, z)
            total += product(tl.trans(pb), tl.where(which == 1.0, z, 0.0))
            total += product(tl.trans(pc), tl.where(which == 2.0, z, 0.0))
            total += product(tl.trans(pd), tl.where(which == 3.0, z, 0.0))
            z = tl.where(which == 0.0, z, 0.0)
        else:
            z = tl.where(a <= 0.0, 0.0, z)
        total += product(tl.trans(pa), z)
    at = part * KP * C + k[:, None] * C + columns[None, :]
    tl.store(sums + at, total, mask=here[None, :])


@triton.jit
def first_gradient_kernel(sums, moments, weight, spread, inverse, gamma, of_weight, of_gamma, of_beta, C,
                          K: tl.constexpr, KP: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """The gradients of weight, gamma and beta from (G, s), added up over all parts."""
    columns = tl.program_id(0) * BC + tl.arange(0, BC)
    here = columns < C
    k = tl.arange(0, KP)
    its = (k < K)[:, None] & here[None, :]
    at = k[:, None] * C + columns[None, :]
    weight_at = columns[None, :] * K + k[:, None]
    mu = tl.load(moments + K * KP + k, mask=k < K, other=0.0) / tl.load(moments + K * KP + K)
    s = channel(sums + K * C, columns, here)
    G = tl.load(sums + at, mask=its, other=0.0) - s * mu.to(tl.float32)[:, None]
    i = channel(inverse, columns, here)
    w = tl.load(weight + weight_at, mask=its, other=0.0).to(tl.float32)
    d = tl.sum(w * G, axis=0)[None, :] * i
    G = channel(gamma, columns, here) * i * (G - d * i * tl.load(spread + at, mask=its, other=0.0))
    tl.store(of_weight + weight_at, G.to(of_weight.dtype.element_ty), mask=its)
    one = tl.arange(0, 1)[:, None] * C + columns[None, :]
    tl.store(of_gamma + one, d, mask=here[None, :])
    tl.store(of_beta + one, s, mask=here[None, :])
