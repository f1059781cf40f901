"""The checks: what a release is judged by, one folder each."""
