"""Prompt texts (files) and how they become messages. Pure."""
