"""A training step of ResNet9 and VGG9 on a GPU with few passes over memory: Triton kernels beside cuDNN.

More than half of a step on an H100 is glue between convolutions: biases, BatchNorm, max-pool, ReLU, residual
sums, copies of gradients, the optimizer. Here a block conv - BatchNorm (- max-pool) - ReLU (+ residual) is,
after cuDNN's convolution without its bias,

    forward    statistics (and the largest value of each window), their joining, normalisation
    backward   sums over the gradient, the gradient of the convolution's output

Pooling commutes with BatchNorm and ReLU, which are monotone in a channel: all but the first and the last of
these passes see a quarter of a pooled block's pixels. BatchNorm is blind to the bias before it: its gradient
is exactly zero, and the running mean has the bias in it. The first layer is computed from the image wherever
it is needed, and its output never stored before BatchNorm.

`batch_norm_kernels`, `first_layer_kernels` and `rules` hold the kernels; `batch_norm` and `first_layer`
launch them as differentiable functions; `body` runs a network by them; `trust` holds a step by them against
the plain one before a run may use it. There are no atomics: the order of every sum depends on shapes alone,
so the same step gives the same bits. docs/gpu-kernels.md says how all this is proved.
"""
