"""The check of memory."""
