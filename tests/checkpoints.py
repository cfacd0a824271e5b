"""`.keras` files of a run without a network in them, and what goes wrong with files."""

import io
import json
import zipfile

import h5py
import numpy as np

FAULTS = ("truncated", "empty", "flipped", "other zip", "no zip")


def write(path, kind="VisionModel", **config):
    """A file that is whole, as far as can be seen without Keras."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/a/vars/0"] = np.arange(200, dtype=np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"class_name": kind, "config": config}))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def damage(path, fault):
    """Damage a file in one of the ways of FAULTS."""
    content = bytearray(path.read_bytes())
    if fault == "truncated":
        content = content[: len(content) // 2]
    elif fault == "empty":
        content = b""
    elif fault == "flipped":
        # amid the weights: the archive can be read, but for a checksum
        content[content.index(np.float32([100, 101]).tobytes())] ^= 1
    elif fault == "other zip":
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("photo.jpg", b"photo")
        return path
    else:
        content = b"hello"
    path.write_bytes(content)
    return path
