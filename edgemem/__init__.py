"""edgemem: a private assistant runtime that gets to know one person and runs on that person's machine."""
