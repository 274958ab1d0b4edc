"""How planning and the stages over all checkpoints grow with the number of checkpoints."""
