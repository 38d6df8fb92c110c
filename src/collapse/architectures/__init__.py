"""The networks: one file and one entry each.

An entry is called as `ARCHITECTURES[name](channels=..., image_size=..., num_classes=..., train_size=...,
width=...)` and returns a `Network`; `smallest_image_size` says from which image side on it can be used.
"""

from collapse.architectures import mlp, mlp_tail, resnet9, resnet18, resnet20, resnet50, ufm, vgg9, vit
from collapse.architectures.network import Architecture, Network

MODULES = {
    "ResNet9": resnet9,
    "VGG9": vgg9,
    "MLP": mlp,
    "UFM": ufm,
    "ViT": vit,
    "ResNet50": resnet50,
    "ResNet18": resnet18,
    "MLPTail": mlp_tail,
    "ResNet20": resnet20,
}

ARCHITECTURES: dict[str, Architecture] = {
    name: Architecture(label=name, build=module.build, smallest_image_size=module.SMALLEST_IMAGE_SIZE)
    for name, module in MODULES.items()
}

__all__ = ["ARCHITECTURES", "Architecture", "Network"]
