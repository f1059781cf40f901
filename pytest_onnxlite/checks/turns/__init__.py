"""Times in turns: candidate and reference run one after the other on today's machine, and what their ratios show."""
