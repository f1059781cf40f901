"""The check of graph."""
