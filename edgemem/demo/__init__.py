"""A bundled multi-session history (our own text) and readers for public ones, for `edgemem demo`."""
