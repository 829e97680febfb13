"""Tasks: what is learned, with its inputs, head, losses, scores and baselines."""
