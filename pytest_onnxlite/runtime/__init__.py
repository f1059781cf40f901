"""How variants are run: the one place that opens a session or an interpreter, and the child process."""
