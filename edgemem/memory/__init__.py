"""The memory as a document: pure functions from text to lines, edits and checks. Knows no disk and no model."""
