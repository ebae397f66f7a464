"""Muon: momentum whose matrices are orthogonalised before they are applied.

Method: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the scale of
J. Liu et al., "Muon is Scalable for LLM Training" (2025), so that one learning rate serves it and AdamW. Matrices of
one shape are stacked and worked on together, a share in each process. ``torch.optim.Muon`` does the same one matrix at
a time in bfloat16, which a processor without bfloat16 arithmetic has to emulate.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
import torch.distributed
from torch import Tensor, nn

MOMENTUM = 0.95
STEPS = 4
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; Jordan's, steep at zero rather than exact at one
UPDATE_RMS = 0.2  # what AdamW's updates have


def orthogonalise(matrices: Tensor) -> Tensor:
    """Nearest (semi-)orthogonal matrices, roughly, of a stack (n, rows, columns) with rows <= columns."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


class Muon:
    """For the hidden layers' matrices; embeddings, heads and vectors belong to AdamW."""

    def __init__(self, matrices: list[nn.Parameter], weight_decay: float = 0.01) -> None:
        shapes: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            shapes[min(matrix.shape), max(matrix.shape)].append(matrix)
        self._groups = [group for _, group in sorted(shapes.items())]
        self._momenta = {
            matrix: torch.zeros(rows, columns) for (rows, columns), group in shapes.items() for matrix in group
        }
        self._weight_decay = weight_decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from the gradients, which must be the same in every process."""
        world = torch.distributed.get_world_size()
        rank = torch.distributed.get_rank()
        learning = [[m for m in group if m.grad is not None] for group in self._groups]  # a stage rests some layers
        learning = list(filter(None, learning))
        if not learning:
            return
        updates = []
        for matrices in learning:
            gradients = torch.stack([_wide(m.grad) for m in matrices if m.grad is not None])
            momentum = torch.stack([self._momenta[m] for m in matrices]).lerp_(gradients, 1 - MOMENTUM)
            for matrix, kept in zip(matrices, momentum, strict=True):
                self._momenta[matrix] = kept
            update = torch.zeros_like(momentum)
            update[rank::world] = orthogonalise(gradients.lerp(momentum, MOMENTUM)[rank::world])
            updates.append(update)
        flat = torch.cat([update.flatten() for update in updates])
        torch.distributed.all_reduce(flat)
        at = 0
        for matrices, update in zip(learning, updates, strict=True):
            whole = flat[at : at + update.numel()].view_as(update)
            at += update.numel()
            scale = UPDATE_RMS * math.sqrt(update.shape[-1])
            for matrix, change in zip(matrices, whole, strict=True):
                matrix.mul_(1 - rate * self._weight_decay)
                matrix.add_(change if matrix.shape == change.shape else change.T, alpha=-rate * scale)


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
