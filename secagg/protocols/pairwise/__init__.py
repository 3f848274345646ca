"""Pairwise masking: SecAgg (Bonawitz et al., CCS 2017) and SecAgg+ (Bell et al., CCS 2020) in one implementation.

The construction, every label and every check are in docs/spec/pairwise.md.
"""

from secagg.protocols.pairwise.client import PairwiseClient
from secagg.protocols.pairwise.server import Opening, PairwiseServer
from secagg.protocols.pairwise.upload import MaskedUpload

__all__ = ["MaskedUpload", "Opening", "PairwiseClient", "PairwiseServer"]
