"""Dense layers without biases at the end of a network: ReLU layers, then linear ones (Jacot et al. 2024)."""

from __future__ import annotations

from torch import nn


class DenseTail(nn.Sequential):
    """(N, n_0) -> (N, n): the layers before the head, each of `hidden` units; a ReLU follows the first ones.

    linear_layers counts the head, so that one fewer stands here. Raises ValueError for fewer than one of them
    or a negative number of ReLU layers.
    """

    def __init__(self, in_features: int, hidden: int, *, relu_layers: int, linear_layers: int):
        if relu_layers < 0 or linear_layers < 1:
            raise ValueError(
                f"relu_layers {relu_layers}, linear_layers {linear_layers}: at least 0 and 1 are needed; "
                "linear_layers counts the last layer"
            )
        modules: list[nn.Module] = []
        for number in range(relu_layers + linear_layers - 1):
            relu = number < relu_layers
            modules.append(dense_layer(hidden if number else in_features, hidden, relu=relu))
            modules += [nn.ReLU()] if relu else []
        super().__init__(*modules)
        self.relu_layers = relu_layers
        self.out_features = hidden if modules else in_features

    @property
    def layers(self) -> list[nn.Linear]:
        """The dense layers in order."""
        return [module for module in self if isinstance(module, nn.Linear)]


def dense_layer(in_features: int, out_features: int, *, relu: bool) -> nn.Linear:
    """W without a bias; variance of its entries 2 / n before a ReLU (He et al. 2015), 1 / n elsewhere."""
    layer = nn.Linear(in_features, out_features, bias=False)
    nn.init.normal_(layer.weight, std=((2 if relu else 1) / in_features) ** 0.5)
    return layer
