"""The 2021 study that this project grew from, rebuilt with today's libraries as a guarded test suite."""
