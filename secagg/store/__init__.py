"""What outlives a process: a client's ledger and sealed snapshots of its state, a server's journal."""

from secagg.store.journal import Entry, Journal
from secagg.store.ledger import Ledger
from secagg.store.sent import Sent, read_sent
from secagg.store.snapshot import open_snapshot, seal_snapshot

__all__ = ["Entry", "Journal", "Ledger", "Sent", "open_snapshot", "read_sent", "seal_snapshot"]
