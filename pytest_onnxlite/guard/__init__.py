"""From a test's limits to its verdicts, why they are red, and a recipe that would pass."""
