"""Ground truth: what is planted must be found, at the rate that intervals and p-values promise."""
