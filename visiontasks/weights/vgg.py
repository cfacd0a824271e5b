"""Maps the tensors of torchvision's VGG checkpoints to Keras variables."""

# {tap, "" for the deepest: (dense layers, the grid that the first one flattens)}
DENSE = {"": (("classifier.0", "classifier.3", "classifier.6"), (7, 7))}


def layer_of(depths: tuple[int, ...], batch_norm: bool):
    """The function from a module of the checkpoint to the Keras layer, for `depths` convolutions per block.

    torchvision numbers everything in `features`, activations and pools included.
    """
    layers, index = {}, 0
    for block, count in enumerate(depths, start=1):
        for i in range(1, count + 1):
            layers[f"features.{index}"] = f"block{block}_conv{i}"
            if batch_norm:
                layers[f"features.{index + 1}"] = f"block{block}_bn{i}"
            index += 3 if batch_norm else 2
        index += 1  # the pool
    return lambda module: None if module.startswith("classifier.") else layers.get(module, module)
