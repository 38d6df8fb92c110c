"""The paper's small vision transformer: patches of 4x4, 512 features, 6 layers, 8 heads, no dropout.

After the implementation it names, tintn/vision-transformer-from-scratch: a class token, blocks that
normalise first, no normalisation before the last layer, weights normal with deviation 0.02.
"""

import torch
from torch import Tensor, nn

from collapse.architectures.network import Network, RequireImageSize, scaled_channels

SMALLEST_IMAGE_SIZE = 8
PATCH_SIZE, NUM_LAYERS, NUM_HEADS = 4, 6, 8
INITIAL_DEVIATION = 0.02


class Tokens(nn.Module):
    """Images (N, C, H, W) -> tokens (N, 1 + patches, p), the class token first; positions added."""

    def __init__(self, *, channels: int, image_size: int, num_features: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, num_features, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)
        self.class_token = nn.Parameter(torch.empty(1, 1, num_features))
        num_patches = (image_size // PATCH_SIZE) ** 2
        self.positions = nn.Parameter(torch.empty(1, 1 + num_patches, num_features))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        patches = self.patches(images_NCHW).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(len(patches), -1, -1)
        return torch.cat([class_token, patches], dim=1) + self.positions


class ClassToken(nn.Module):
    """Tokens (N, T, p) -> the features of the class token (N, p)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def build(*, channels: int, image_size: int, num_classes: int, width: float, **_: int) -> Network:
    """The ViT; see `Architecture.__call__`. Raises ValueError unless 4 divides image_size."""
    if image_size % PATCH_SIZE:
        raise ValueError(f"image_size {image_size}: ViT needs a multiple of its patch size {PATCH_SIZE}")
    num_features = scaled_channels(512, width=width)
    layers = [
        nn.TransformerEncoderLayer(
            num_features, NUM_HEADS, 4 * num_features, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )
        for _ in range(NUM_LAYERS)
    ]  # fmt: skip
    body = nn.Sequential(
        RequireImageSize(architecture="ViT", smallest=SMALLEST_IMAGE_SIZE),
        Tokens(channels=channels, image_size=image_size, num_features=num_features),
        *layers,
        ClassToken(),
    )
    # Biases and the scales and shifts of LayerNorm are exempt from decay here, and only here.
    network = Network(body=body, head=nn.Linear(num_features, num_classes), decay_vectors=False)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=INITIAL_DEVIATION)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return network
