"""Training: chat models fine-tuned in named regimes, and the audit inside any training run.

The callback is loaded when it is asked for: planning reads dialogues, and needs no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emodrift.watching.callback import AuditCallback, Watch

__all__ = ["AuditCallback", "Watch"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from emodrift.watching import callback

    return getattr(callback, name)
