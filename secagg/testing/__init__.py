"""Help for people who embed the engine: an in-memory network with a fault plan."""

from secagg.testing.network import FaultPlan, Network

__all__ = ["FaultPlan", "Network"]
