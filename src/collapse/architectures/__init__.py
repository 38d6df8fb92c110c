"""The networks: one file and one entry each.

An entry is called as `ARCHITECTURES[name](channels=..., num_classes=..., width=...)` and returns a
`Network`; `smallest_image_size` says from which image side on it can be used.
"""

from collapse.architectures import resnet9, vgg9
from collapse.architectures.network import Architecture, Network

ARCHITECTURES: dict[str, Architecture] = {
    "ResNet9": Architecture(
        label="ResNet9",
        build=resnet9.build,
        smallest_image_size=resnet9.SMALLEST_IMAGE_SIZE,
    ),
    "VGG9": Architecture(
        label="VGG9",
        build=vgg9.build,
        smallest_image_size=vgg9.SMALLEST_IMAGE_SIZE,
    ),
}

__all__ = ["ARCHITECTURES", "Architecture", "Network"]
