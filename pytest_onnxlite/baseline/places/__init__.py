"""Where released files are kept: next to the baselines, in another folder, or on a server."""
