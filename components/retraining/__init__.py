"""Whether new data is worth a fine-tune: the decision of a scheduled tick."""
