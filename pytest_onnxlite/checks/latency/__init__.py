"""The check of latency."""
