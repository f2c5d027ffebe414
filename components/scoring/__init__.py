"""Items, scores, metrics and paired comparison."""
