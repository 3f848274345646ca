"""One message and done: clients mask with lattice secrets of one round, a committee opens the sum of those secrets.

The construction, every label and every check are in docs/spec/oneshot.md.
"""

from secagg.protocols.oneshot.client import HintUpload, OneshotClient, OneshotMember
from secagg.protocols.oneshot.server import OneshotServer, Revealed
from secagg.protocols.oneshot.setup import committee

__all__ = ["HintUpload", "OneshotClient", "OneshotMember", "OneshotServer", "Revealed", "committee"]
