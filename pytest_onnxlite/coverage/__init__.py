"""What a run was to look at, and what it looked at: full, partial, or with something missing. Pure, and knows no pytest."""
