"""What the last release measured, and its artefact."""
