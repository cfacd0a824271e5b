"""Which tensor of torchvision's VGG checkpoints is which Keras variable."""

# {tap, "" for the deepest: (the layers, the grid that the first one sees flattened)}
DENSE = {"": (("classifier.0", "classifier.3", "classifier.6"), (7, 7))}


def layer_of(depths: tuple[int, ...], normalised: bool):
    """The function from a module of the checkpoint to the Keras layer, for `depths` convolutions a block.

    torchvision numbers everything in `features`, activations and pools included.
    """
    layers, index = {}, 0
    for block, count in enumerate(depths, start=1):
        for i in range(1, count + 1):
            layers[f"features.{index}"] = f"block{block}_conv{i}"
            if normalised:
                layers[f"features.{index + 1}"] = f"block{block}_bn{i}"
            index += 3 if normalised else 2
        index += 1  # the pool
    return lambda module: None if module.startswith("classifier.") else layers.get(module, module)
