"""Maps the tensors of torchvision's AlexNet checkpoint to Keras variables."""

DENSE = {"": (("classifier.1", "classifier.4", "classifier.6"), (6, 6))}  # see weights/vgg.py

_LAYERS = {f"features.{index}": f"conv{i}" for i, index in enumerate((0, 3, 6, 8, 10), start=1)}


def layer_of(module: str) -> str | None:
    """The Keras layer of a module in the checkpoint."""
    return None if module.startswith("classifier.") else _LAYERS.get(module, module)
