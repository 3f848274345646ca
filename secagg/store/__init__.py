"""What outlives a process: the client's ledger, and sealed snapshots of its state."""

from secagg.store.ledger import Ledger
from secagg.store.sent import Sent, read_sent
from secagg.store.snapshot import open_snapshot, seal_snapshot

__all__ = ["Ledger", "Sent", "open_snapshot", "read_sent", "seal_snapshot"]
