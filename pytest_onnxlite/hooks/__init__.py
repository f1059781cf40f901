"""pytest's hooks of a run in which something is guarded; loaded with the first guarded test."""
