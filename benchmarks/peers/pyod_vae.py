"""PyOD's VAE with its own settings: anomaly scores of the rows of an `.npz` file, after training on others of it.

python pyod_vae.py FILE SEED writes `scores` of `test`, trained on `train`, as one line of JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from pyod.models.vae import VAE


def main() -> None:
    given = np.load(sys.argv[1])
    detector = VAE(random_state=int(sys.argv[2]), verbose=0).fit(given["train"])
    print(json.dumps(detector.decision_function(given["test"]).tolist()))


if __name__ == "__main__":
    main()
