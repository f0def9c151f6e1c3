"""Memory systems of others, as they are published, each in an environment and a process of its own."""
