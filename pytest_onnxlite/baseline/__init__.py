"""What the last accepted release measured, and its artefact."""
