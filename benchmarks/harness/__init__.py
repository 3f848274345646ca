"""What every benchmark measures with: pairs, marks, records, sessions that can be played again, worker processes."""
