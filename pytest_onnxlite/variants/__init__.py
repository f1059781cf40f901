"""From what a user has to the variants that are judged: loading, conversion, quantization and their cache."""
