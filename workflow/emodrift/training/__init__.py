"""Training: chat models fine-tuned in named regimes, and the audit inside any training run."""

from emodrift.watching.callback import AuditCallback, Watch

__all__ = ["AuditCallback", "Watch"]
