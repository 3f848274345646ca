"""What outlives a process: the client's ledger, and sealed snapshots of its state."""

from secagg.store.ledger import Ledger
from secagg.store.snapshot import open_snapshot, seal_snapshot

__all__ = ["Ledger", "open_snapshot", "seal_snapshot"]
