"""Secure aggregation for NVFlare: one line for the server of a job, one for its clients.

>>> params = plan_for(initial_weights, clients=5, max_weight=10_000, metrics=("accuracy",))
>>> job.to_server(SecureFedAvg(params, num_rounds=10, persistor_id=persistor))
>>> job.to_clients(SecureSite(params))

The executor, the persistor and the training script stay as they are.
"""

from secagg.integrations.nvflare.controller import SecureFedAvg
from secagg.integrations.nvflare.kits import Claim, roster_of
from secagg.integrations.nvflare.site import OpenRequest, SealResult, SecureExecutor, SecureSite
from secagg.integrations.nvflare.updates import plan_for

__all__ = [
    "Claim",
    "OpenRequest",
    "SealResult",
    "SecureExecutor",
    "SecureFedAvg",
    "SecureSite",
    "plan_for",
    "roster_of",
]
