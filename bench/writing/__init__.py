"""How well memories are written: cases, one fixed matcher, rows as they come, a report made of rows alone."""
