"""The states of the random generators of a process: Python's, NumPy's and PyTorch's.

TensorFlow's and JAX's are in the model's variables: Keras draws from seed generators there.
"""

import random

import keras
import numpy as np


def random_states() -> dict:
    """JSON-ready states of the global generators."""
    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    states = {"python": [version, list(numbers), gauss], "numpy": [kind, keys.tolist(), *rest]}
    if keras.backend.backend() == "torch":
        import torch

        states["torch"] = torch.get_rng_state().tolist()
        states["cuda"] = [state.tolist() for state in torch.cuda.get_rng_state_all()]
    return states


def set_random_states(states: dict):
    """Go on where `random_states` was called."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    if "torch" in states:
        import torch

        torch.set_rng_state(torch.tensor(states["torch"], dtype=torch.uint8))
        if torch.cuda.device_count() == len(states["cuda"]):
            torch.cuda.set_rng_state_all([torch.tensor(state, dtype=torch.uint8) for state in states["cuda"]])
