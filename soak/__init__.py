"""The long runs: what swaps promise, in the numbers that are promised. `python -m soak --help`."""
