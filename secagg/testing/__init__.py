"""Help for people who embed the engine: an in-memory network with a fault plan; `secagg.testing.conformance` tests a carrier."""

from secagg.testing.network import FaultPlan, Network

__all__ = ["FaultPlan", "Network"]
