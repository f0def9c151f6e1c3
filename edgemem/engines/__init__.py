"""Engines behind one seam (`base`). One home per model library."""
