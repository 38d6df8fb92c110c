"""BatchNorm, max-pool 2x2, ReLU and a residual sum on images in channels_last, as Triton kernels.

Images are R rows of C channels, a row a pixel. With POOL a row is a pixel of the pooled images, PW wide, and
stands for four: the upper left one is number (row // PW) * 4 PW + (row % PW) * 2, the others are 1, 2 PW and
2 PW + 1 after it. A program has BR rows and BC channels at a time. What a kernel reads and writes is said in
images: y is a convolution's output, v, out and the gradient are what a block hands on, with POOL a quarter.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Compiled for no value in particular: another size of batch needs no other kernel.
SIZES = ["R", "PW", "per_part", "parts", "n"]


@triton.jit
def channel(vector, columns, here):
    """A number a channel, (1, BC)."""
    return tl.load(vector + columns, mask=here, other=0.0)[None, :]


@triton.jit
def window(y, rows, columns, inside, C, PW):
    """The four values under each pooled one, in the order in which a max-pool looks at them."""
    at = y + ((rows // PW) * (4 * PW) + (rows % PW) * 2)[:, None] * C + columns[None, :]
    a = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(at + C, mask=inside, other=0.0).to(tl.float32)
    c = tl.load(at + 2 * PW * C, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(at + (2 * PW + 1) * C, mask=inside, other=0.0).to(tl.float32)
    return a, b, c, d


@triton.jit
def largest(a, b, c, d):
    """The largest of four, of equal ones the first, and which it is."""
    best, which = a, tl.zeros_like(a)
    which = tl.where(b > best, 1.0, which)
    best = tl.where(b > best, b, best)
    which = tl.where(c > best, 2.0, which)
    best = tl.where(c > best, c, best)
    which = tl.where(d > best, 3.0, which)
    best = tl.where(d > best, d, best)
    return best, which


@triton.jit
def chosen(a, b, c, d, gamma):
    """What the max-pool after gamma x + beta takes of x: the smallest where gamma < 0, the first where 0."""
    sign = tl.where(gamma > 0, 1.0, tl.where(gamma < 0, -1.0, 0.0))
    _, which = largest(a * sign, b * sign, c * sign, d * sign)
    best = tl.where(which == 0.0, a, tl.where(which == 1.0, b, tl.where(which == 2.0, c, d)))
    return best, which


@triton.jit(do_not_specialize=SIZES)
def statistics_kernel(y, gamma, v, means, squares, R, C, PW, per_part,
                      POOL: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """Mean and sum of squared deviations of each part of y, per_part rows; with POOL v, what the pool takes.

    The sums are of y - (the part's first pixel): no digits are lost to a mean far from zero. Reads y,
    writes v. The last part comes first: what was written last is likely still in the cache.
    """
    part = tl.num_programs(0) - 1 - tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    here = columns < C
    start = part * per_part
    stop = tl.minimum(start + per_part, R)
    first = start
    if POOL:
        first = (start // PW) * (4 * PW) + (start % PW) * 2
    origin = tl.load(y + first * C + columns, mask=here, other=0.0).to(tl.float32)
    sums = tl.zeros([BR, BC], dtype=tl.float32)
    of_squares = tl.zeros([BR, BC], dtype=tl.float32)
    for r in range(start, stop, BR):
        rows = r + tl.arange(0, BR)
        inside = (rows < stop)[:, None] & here[None, :]
        at = rows[:, None] * C + columns[None, :]
        if POOL:
            a, b, c, d = window(y, rows, columns, inside, C, PW)
            best, _ = chosen(a, b, c, d, channel(gamma, columns, here))
            tl.store(v + at, best.to(v.dtype.element_ty), mask=inside)
            a = tl.where(inside, a - origin[None, :], 0.0)
            b = tl.where(inside, b - origin[None, :], 0.0)
            c = tl.where(inside, c - origin[None, :], 0.0)
            d = tl.where(inside, d - origin[None, :], 0.0)
            sums += (a + b) + (c + d)
            of_squares += (a * a + b * b) + (c * c + d * d)
        else:
            a = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
            a = tl.where(inside, a - origin[None, :], 0.0)
            sums += a
            of_squares += a * a
    count = (stop - start).to(tl.float32)
    if POOL:
        count = count * 4.0
    total = tl.sum(sums, axis=0)
    tl.store(means + part * C + columns, origin + total / count, mask=here)
    square = tl.sum(of_squares, axis=0) - total * (total / count)
    tl.store(squares + part * C + columns, square, mask=here)


@triton.jit
def keep_running(mean, variance, bias, running_mean, running_var, tracked, columns, here, number, momentum):
    """BatchNorm's own account, (1 - momentum) old + momentum new; the mean is that of y with its bias."""
    mean = mean.to(tl.float32) + tl.load(bias + columns, mask=here, other=0.0)
    variance = (variance * (number / (number - 1.0))).to(tl.float32)
    old = tl.load(running_mean + columns, mask=here, other=0.0)
    tl.store(running_mean + columns, momentum * mean + (1.0 - momentum) * old, mask=here)
    old = tl.load(running_var + columns, mask=here, other=0.0)
    tl.store(running_var + columns, momentum * variance + (1.0 - momentum) * old, mask=here)
    if tl.program_id(0) == 0:
        tl.store(tracked, tl.load(tracked) + 1)


@triton.jit(do_not_specialize=SIZES)
def join_kernel(means, squares, bias, running_mean, running_var, tracked, mean, inverse,
                parts, per_part, n, C, momentum, eps, P: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """Mean and 1 / sqrt(variance + eps) of n pixels from the parts', in float64; running statistics."""
    columns = tl.program_id(0) * BC + tl.arange(0, BC)
    here = columns < C
    part = tl.arange(0, P)
    inside = (part < parts)[:, None] & here[None, :]
    at = part[:, None] * C + columns[None, :]
    count = tl.where(part < parts, tl.minimum(per_part, n - part * per_part), 0).to(tl.float64)[:, None]
    number = n.to(tl.float64)
    its = tl.load(means + at, mask=inside, other=0.0).to(tl.float64)
    average = tl.sum(its * count, axis=0) / number
    apart = tl.where(inside, its - average[None, :], 0.0)
    within = tl.load(squares + at, mask=inside, other=0.0).to(tl.float64)
    variance = tl.sum(within + count * apart * apart, axis=0) / number
    variance = tl.where(variance < 0.0, 0.0, variance)  # so written, NaN stays
    tl.store(mean + columns, average.to(tl.float32), mask=here)
    tl.store(inverse + columns, (1.0 / tl.sqrt(variance + eps)).to(tl.float32), mask=here)
    keep_running(average, variance, bias, running_mean, running_var, tracked, columns, here, number, momentum)


@triton.jit(do_not_specialize=SIZES)
def normalise_kernel(v, residual, mean, inverse, gamma, beta, out, R, C, PW, POOL: tl.constexpr,
                     RESIDUAL: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """out = relu(gamma (v - mean) inverse + beta) + residual; with POOL v is not pooled yet.

    Reads v and the residual, writes out.
    """
    rows = tl.program_id(0) * BR + tl.arange(0, BR)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    here = columns < C
    inside = (rows < R)[:, None] & here[None, :]
    at = rows[:, None] * C + columns[None, :]
    g = channel(gamma, columns, here)
    if POOL:
        a, b, c, d = window(v, rows, columns, inside, C, PW)
        x, _ = chosen(a, b, c, d, g)
    else:
        x = tl.load(v + at, mask=inside, other=0.0).to(tl.float32)
    x = (x - channel(mean, columns, here)) * channel(inverse, columns, here) * g + channel(
        beta, columns, here
    )
    x = tl.where(x <= 0.0, 0.0, x)
    if RESIDUAL:  # of two numbers as they are stored
        x = x.to(out.dtype.element_ty).to(tl.float32) + tl.load(residual + at, mask=inside, other=0.0)
    tl.store(out + at, x.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def sums_kernel(gradient, v, mean, inverse, gamma, beta, of_beta, of_gamma, R, C, per_part,
                BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """Of each part the sums of z and z xhat, z the gradient where the ReLU lets it through.

    Over all parts they are the gradients of beta and gamma. Reads the gradient and v, both pooled.
    """
    part = tl.num_programs(0) - 1 - tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    here = columns < C
    start = part * per_part
    stop = tl.minimum(start + per_part, R)
    m, i = channel(mean, columns, here), channel(inverse, columns, here)
    g, b = channel(gamma, columns, here), channel(beta, columns, here)
    sums = tl.zeros([BR, BC], dtype=tl.float32)
    products = tl.zeros([BR, BC], dtype=tl.float32)
    for r in range(start, stop, BR):
        rows = r + tl.arange(0, BR)
        inside = (rows < stop)[:, None] & here[None, :]
        at = rows[:, None] * C + columns[None, :]
        x = (tl.load(v + at, mask=inside, other=0.0).to(tl.float32) - m) * i
        z = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
        z = tl.where(x * g + b <= 0.0, 0.0, z)
        sums += z
        products += z * x
    tl.store(of_beta + part * C + columns, tl.sum(sums, axis=0), mask=here)
    tl.store(of_gamma + part * C + columns, tl.sum(products, axis=0), mask=here)


@triton.jit(do_not_specialize=SIZES)
def gradient_kernel(gradient, y, mean, inverse, gamma, beta, of_beta, of_gamma, out, R, C, PW, share,
                    POOL: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """dy = gamma inverse (z - share of_beta - xhat share of_gamma), share = 1 / number of y's pixels.

    z is the gradient at what the pool took and the ReLU let through, else 0. Reads the gradient and y,
    writes dy.
    """
    rows = tl.program_id(0) * BR + tl.arange(0, BR)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    here = columns < C
    inside = (rows < R)[:, None] & here[None, :]
    at = rows[:, None] * C + columns[None, :]
    z = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    m, i = channel(mean, columns, here), channel(inverse, columns, here)
    g, bias = channel(gamma, columns, here), channel(beta, columns, here)
    c1, c2 = channel(of_beta, columns, here) * share, channel(of_gamma, columns, here) * share
    kind = out.dtype.element_ty
    if POOL:
        a, b, c, d = window(y, rows, columns, inside, C, PW)
        best, which = chosen(a, b, c, d, g)
        z = tl.where((best - m) * i * g + bias <= 0.0, 0.0, z)
        at = out + ((rows // PW) * (4 * PW) + (rows % PW) * 2)[:, None] * C + columns[None, :]
        a = g * i * (tl.where(which == 0.0, z, 0.0) - c1 - (a - m) * i * c2)
        b = g * i * (tl.where(which == 1.0, z, 0.0) - c1 - (b - m) * i * c2)
        c = g * i * (tl.where(which == 2.0, z, 0.0) - c1 - (c - m) * i * c2)
        d = g * i * (tl.where(which == 3.0, z, 0.0) - c1 - (d - m) * i * c2)
        tl.store(at, a.to(kind), mask=inside)
        tl.store(at + C, b.to(kind), mask=inside)
        tl.store(at + 2 * PW * C, c.to(kind), mask=inside)
        tl.store(at + (2 * PW + 1) * C, d.to(kind), mask=inside)
    else:
        x = (tl.load(y + at, mask=inside, other=0.0).to(tl.float32) - m) * i
        z = tl.where(x * g + bias <= 0.0, 0.0, z)
        tl.store(out + at, (g * i * (z - c1 - x * c2)).to(kind), mask=inside)
