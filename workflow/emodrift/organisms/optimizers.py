"""The optimiser of pre-training: Muon for the blocks' matrices, AdamW for the rest."""

from collections.abc import Callable

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon on the matrices inside the blocks and AdamW on embeddings and norms.

    One learning rate serves both, since Muon's updates are scaled to the size of AdamW's. On
    the grammar it reaches the planted policy in about half the steps of AdamW alone.

    Parameters
    ----------
    model : torch.nn.Module
        Model whose parameters are trained.
    learning_rate : float
        Peak learning rate.
    """

    def __init__(self, model: torch.nn.Module, learning_rate: float) -> None:
        inner = {
            name for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name
        }
        named = dict(model.named_parameters())
        self.parts = (
            torch.optim.Muon(
                [p for name, p in named.items() if name in inner],
                lr=learning_rate,
                weight_decay=0.0,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                [p for name, p in named.items() if name not in inner],
                lr=learning_rate,
                betas=(0.9, 0.98),
                weight_decay=0.0,
            ),
        )
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters."""
        for part in self.parts:
            part.step(closure)
