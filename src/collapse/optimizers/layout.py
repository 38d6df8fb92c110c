"""Where the matrices lie in the flat vector of all parameters: what directions for matrices are told.

A matrix is the weight of a convolution or a linear layer. What is in no piece is a vector: biases, the scales
and shifts of normalisations, and parameters that are no layer's weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Piece(NamedTuple):
    """A matrix in the flat vector, entries start to stop.

    shape: (O, I) of a linear layer, (O, H W, I) of a convolution, without sides of one entry after O.
    is_head: whether it is the last layer's weight, O the classes.
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    is_head: bool = False

    def tensor(self, flat: Tensor) -> Tensor:
        """The piece in its shape, a view."""
        return flat[self.start : self.stop].view(self.shape)

    def matrix(self, flat: Tensor) -> Tensor:
        """The piece as O rows, a view: the fan-in of an output is one row."""
        return flat[self.start : self.stop].view(self.shape[0], -1)


Layout = tuple[Piece, ...]


def heads(layout: Layout) -> Layout:
    """The last layer's weight alone."""
    return tuple(piece for piece in layout if piece.is_head)


def hidden(layout: Layout) -> Layout:
    """All matrices but the last layer's."""
    return tuple(piece for piece in layout if not piece.is_head)


def with_pieces(flat: Tensor, layout: Layout, new: Callable[[Piece], Tensor]) -> Tensor:
    """A copy of a flat vector in which every piece of the layout is `new(piece)`, of as many entries."""
    result = flat.clone()
    for piece in layout:
        result[piece.start : piece.stop] = new(piece).flatten()
    return result
