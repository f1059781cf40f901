"""Verdicts in, text and files out."""
