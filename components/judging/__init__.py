"""People see two models' answers blind and say which is better; what they say becomes numbers."""
