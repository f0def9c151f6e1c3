"""How fast: two ways of doing the same thing side by side, as a ratio."""
