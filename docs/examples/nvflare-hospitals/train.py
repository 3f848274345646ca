"""A hospital's training script, as for any NVFlare job: it knows nothing of secagg's rounds.

The data is that of `secagg demo`; its helpers are used here so that the example is short.
"""

import sys

import nvflare.client as flare
from model import from_vector, to_vector
from nvflare.app_common.np.constants import NPConstants

from secagg.cli.demo import hospitals
from secagg.cli.demo import model as net

HOSPITALS, SEED = int(sys.argv[1]), int(sys.argv[2])

flare.init()
(mine,) = [each for each in hospitals.load(HOSPITALS, SEED).hospitals if each.name == flare.get_site_name()]

while flare.is_running():
    received = flare.receive()
    weights = from_vector(received.params[NPConstants.NUMPY_KEY])
    delta = net.train(weights, mine.x, mine.y)
    flare.send(
        flare.FLModel(
            params={NPConstants.NUMPY_KEY: to_vector(net.add(weights, delta))},
            metrics={"accuracy": net.accuracy(weights, mine.x, mine.y)},
            meta={"NUM_STEPS_CURRENT_ROUND": mine.patients},
        )
    )
