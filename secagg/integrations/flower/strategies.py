"""Which strategies can live on one weighted mean. A Grid cannot see what a strategy does with replies, so it is asked first.

A strategy is taken if the class that defines its aggregation is on the list: subclasses that only change how nodes are chosen
or configured are as good as their parents.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from secagg.errors import ParameterError

__all__ = ["REFUSED", "SUPPORTED", "check_strategy"]

# What aggregate_train of each does with the replies, as read in Flower's source: a weighted mean, then arithmetic on that mean.
SUPPORTED = {
    "FedAvg": "takes the weighted mean",
    "FedAvgM": "adds momentum to the weighted mean",
    "FedAdagrad": "treats the weighted mean as a gradient",
    "FedAdam": "treats the weighted mean as a gradient",
    "FedYogi": "treats the weighted mean as a gradient",
    "FedProx": "takes the weighted mean; the proximal term is the clients'",
}
_PICKS = "picks among single updates, and there is only their mean"
_CLIPS = (
    "clips single updates at the server, and would clip their mean; clip at the clients, with a mod after secagg_mod"
)
_NOISE = (
    "takes the number of replies and their weights for its noise, and there is one reply; add noise at the clients, with a mod "
    "after secagg_mod"
)
REFUSED = {
    "FedMedian": "takes medians of single updates, and there is only their mean",
    "FedTrimmedAvg": "sorts single updates and drops the largest, and there is only their mean",
    "Krum": _PICKS,
    "MultiKrum": _PICKS,
    "Bulyan": _PICKS,
    "QFedAvg": "weighs each update by its client's loss at the server, and there is only the mean",
    "FedXgbBagging": "concatenates trees, which cannot be summed",
    "FedXgbCyclic": "hands one client's trees to the next: there is no sum",
    "DifferentialPrivacyServerSideFixedClipping": _CLIPS,
    "DifferentialPrivacyServerSideAdaptiveClipping": _CLIPS,
    "DifferentialPrivacyClientSideFixedClipping": _NOISE,
    "DifferentialPrivacyClientSideAdaptiveClipping": _NOISE,
}
_AGGREGATIONS = ("aggregate_train", "aggregate_evaluate")
_METRICS = ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn")


def _classes(names: Collection[str]) -> dict[type, str]:
    """Return the classes of these names that the installed Flower has."""
    return {getattr(flower, name): name for name in names if hasattr(flower, name)}


def check_strategy(strategy: Any, accept: Collection[type] = ()) -> None:
    """Return if a strategy needs nothing of the replies but their weighted mean.

    Parameters
    ----------
    strategy : flwr.serverapp.strategy.Strategy
    accept : collection of type
        Classes of the caller's own whose aggregation is known to be as modest, say one that only saves what its parent made.

    Raises
    ------
    ParameterError
        It needs more, or nobody knows; the text says which.
    """
    supported, refused = _classes(SUPPORTED), _classes(REFUSED)
    for name in _AGGREGATIONS:
        for kind in type(strategy).__mro__:
            if kind in refused:
                label = refused[kind]
                raise ParameterError(f"{label} cannot be used with secure aggregation: it {REFUSED[label]}")
            if kind in accept or name not in vars(kind):
                continue
            if kind not in supported:
                raise ParameterError(
                    f"{kind.__name__}.{name} is not known to need only the weighted mean of the updates; if it does, say so with "
                    f"accept=({kind.__name__},). Known strategies: {', '.join(sorted(SUPPORTED))}"
                )
            break
    for name in _METRICS:
        function = getattr(strategy, name, aggregate_metricrecords)
        if function is not aggregate_metricrecords and type(strategy) not in accept:
            raise ParameterError(
                f"{name} would see one reply that holds the weighted means, not the clients' metrics; leave it out, or accept "
                "the strategy's class if the function can live with that"
            )
