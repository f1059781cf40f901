"""Models that pyproject.toml declares: their tables, their data, and the tests that are collected for them."""
