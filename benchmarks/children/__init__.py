"""Programs that benchmarks run in a fresh process, to look at its memory."""
