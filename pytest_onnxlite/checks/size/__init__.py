"""The check of size."""
