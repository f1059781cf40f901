"""Variant in, measurement out."""
