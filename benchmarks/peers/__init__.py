"""The peers: each adapter calls the peer's own functions and says which version they are of."""
