"""Why a verdict is red, and what to do: runs on failure or on request, and never turns a verdict around."""
