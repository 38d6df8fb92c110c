"""Shampoo and SOAP: a matrix for every side of a weight, from the second moments of its gradient.

A side of a weight (O, I), or (O, H W, I), is one of its dimensions, of d entries. Its factor is a d x d
average: L_k <- beta2 L_k + (1 - beta2) unfold_k(G) unfold_k(G)^T. Vectors get Adam's direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from collapse.optimizers.directions import State, adam, moving_average
from collapse.optimizers.layout import Layout, Piece, with_pieces

if TYPE_CHECKING:
    from torch import Tensor

# Steps from one eigendecomposition to the next: of a side of 512 it takes as long as several steps.
EVERY, LARGE, EVERY_OF_LARGE = 10, 128, 100
DELTA = 1e-6  # of a factor's largest eigenvalue, added to all; an absolute number would be noise or too much
RHO = 1e-4  # of a matrix's root mean square, added to SOAP's denominator: rounding is not divided by itself
TINY = 1e-30


def shampoo(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Shampoo (Gupta, Koren and Singer 2018) as long as Adam's direction.

    P = m with (L_k + delta lambda_max(L_k) I)^(-1 / (2 n)) on each of n sides;  D = P ||A|| / ||P||, A Adam's
    direction of the same matrix. The bias of m and L to zero cancels.
    """
    A, its_moments = adam(gradients, state, momentum=momentum, beta2=beta2, epsilon=epsilon)
    factors = new_factors(gradients, state, beta2=beta2, layout=layout)
    roots = renewed(factors, state, of="root", by=inverse_root, step=its_moments["step"], layout=layout)

    def direction(piece: Piece) -> Tensor:
        P = on_sides(piece.tensor(its_moments["first"]), piece, roots, "root")
        return P * (piece.tensor(A).norm() / P.norm().clamp_min(TINY))

    return with_pieces(A, layout, direction), its_moments | factors | roots


def soap(
    gradients: Tensor,
    state: State,
    rho: float = RHO,
    *,
    momentum: float,
    beta2: float,
    epsilon: float,
    layout: Layout,
) -> tuple[Tensor, State]:
    """SOAP (Vyas et al. 2024): Adam in the eigenvectors of Shampoo's factors, Q_k.

    v <- beta2 v + (1 - beta2) rot(g)^2
    D = rot^-1(rot(m_hat) / (sqrt(v_hat) + epsilon + rho rms(sqrt(v_hat))))

    m stays as it is, v is that of the rotated gradient. rho = 0 is SOAP as published.
    """
    factors = new_factors(gradients, state, beta2=beta2, layout=layout)
    step = state.get("step", 0) + 1
    bases = renewed(factors, state, of="basis", by=eigenvectors, step=step, layout=layout)

    def rotated(flat: Tensor) -> Tensor:
        return with_pieces(flat, layout, lambda piece: on_sides(piece.tensor(flat), piece, bases, "basis"))

    first = moving_average(gradients, state, "first", momentum)
    second = moving_average(rotated(gradients) ** 2, state, "second", beta2)
    root = (second / (1 - beta2**step)).sqrt()
    root = with_pieces(root, layout, lambda piece: floored(piece.tensor(root), rho))
    U = rotated(first / (1 - momentum**step)) / (root + epsilon)
    D = with_pieces(U, layout, lambda piece: on_sides(piece.tensor(U), piece, bases, "basis", back=True))
    return D, {"first": first, "second": second, "step": step} | factors | bases


def floored(root: Tensor, rho: float) -> Tensor:
    """A matrix of standard deviations with the share rho of their root mean square added."""
    return root + rho * root.square().mean().sqrt()


def sides(layout: Layout) -> Iterator[tuple[Piece, int]]:
    """Every side of every piece."""
    return ((piece, side) for piece in layout for side in range(len(piece.shape)))


def new_factors(gradients: Tensor, state: State, *, beta2: float, layout: Layout) -> State:
    """L_k of every side, of each piece, with this step's gradient, by name."""
    factors = {}
    for piece, side in sides(layout):
        unfolded = piece.tensor(gradients).movedim(side, 0).flatten(1)
        name = f"factor_{piece.start}_{side}"
        factors[name] = moving_average(unfolded @ unfolded.mT, state, name, beta2)
    return factors


def renewed(
    factors: State, state: State, *, of: str, by: Callable[[Tensor, int], Tensor], step: int, layout: Layout
) -> State:
    """What `by` makes of every factor (and the number of its piece's sides), anew now and then."""
    made = {}
    for piece, side in sides(layout):
        name, factor = f"{of}_{piece.start}_{side}", factors[f"factor_{piece.start}_{side}"]
        every = EVERY if max(piece.shape) <= LARGE else EVERY_OF_LARGE
        made[name] = state[name] if (step - 1) % every else by(factor, len(piece.shape))
    return made


def on_sides(tensor: Tensor, piece: Piece, matrices: State, of: str, *, back: bool = False) -> Tensor:
    """Every side of a piece's tensor times the transpose of its matrix; times the matrix, `back`."""
    for side in range(len(piece.shape)):
        matrix = matrices[f"{of}_{piece.start}_{side}"]
        tensor = (tensor.movedim(side, -1) @ (matrix.mT if back else matrix)).movedim(-1, side)
    return tensor


def inverse_root(factor: Tensor, num_sides: int) -> Tensor:
    """(L + delta lambda_max I)^(-1 / (2 num_sides))."""
    values, vectors = eigen(factor)
    values = (values.clamp_min(0) + DELTA * values[-1]).clamp_min(TINY)
    return (vectors * values ** (-1 / (2 * num_sides))) @ vectors.mT


def eigenvectors(factor: Tensor, num_sides: int) -> Tensor:
    """The eigenvectors as columns, that of the largest eigenvalue first."""
    return eigen(factor)[1].flip(1).contiguous()  # a state that is read back has the same strides


def eigen(factor: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors; NaN of a factor that is not finite: the run has diverged."""
    import torch  # figures name optimizers without it

    if not factor.isfinite().all():
        return torch.full_like(factor[0], torch.nan), torch.full_like(factor, torch.nan)
    return torch.linalg.eigh(factor)
