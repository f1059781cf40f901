"""The check of accuracy."""
