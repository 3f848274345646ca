"""The protocols, each a pair of sans-IO state machines that never touch a vector."""
