"""Accuracy and cost, measured. Needs the extra `[bench]`."""
