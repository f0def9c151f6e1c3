"""What lies on disk for one user: memory.md and journal.db, and how both change together."""
