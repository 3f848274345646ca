"""Fuzzing: what every decoder and every `receive` does with hostile bytes. `targets` has what is run, `session` runs it."""
