"""Model cards: one folder per model, data only."""
