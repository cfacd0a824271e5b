"""python -m visiontasks.backbones [NAME …]: the backbones' costs, receptive fields and weights."""

import sys

from visiontasks import cli, standard_streams
from visiontasks.errors import RecipeError, UserError
from visiontasks.registry import catalog

USAGE = """python -m visiontasks.backbones [NAME …] [size=H,W] [--per-layer]

  NAME         backbones by their recipe names, such as resnet50; without any, all of them (minutes)
  size=H,W     the size of the image; by default 224,224, with --per-layer the network's own
  --per-layer  one network layer by layer, its classification layers too: shapes, parameters, multiply-adds,
               receptive fields

For each: parameters; multiply-adds of an image; memory of the layers' outputs in float32; stride, channels and
receptive field (input pixels along one axis, ignoring borders) of each level; the source of its ImageNet weights and
their published top-1. The table does not count classification layers, and shows AlexNet and GoogLeNet in torchvision's
form, to which the weights belong; --per-layer shows the paper's."""

ELSEWHERE = "hub"  # whatever it is given


def main(arguments: list[str] | None = None):
    arguments = sys.argv[1:] if arguments is None else arguments
    cli.run(backbones, arguments or [""], lambda: USAGE)


def backbones(arguments: list[str]) -> int:
    """Print the table, or one network's layers; the exit code."""
    per_layer = "--per-layer" in arguments
    names = [word for word in arguments if word and "=" not in word and word != "--per-layer"]
    words, _ = cli.words([word for word in arguments if "=" in word], ("size",))
    size = _size(words["size"]) if "size" in words else None
    for name in names:
        catalog.find("backbones", name)
    if per_layer and len(names) != 1:
        raise RecipeError("--per-layer: expected one NAME.")
    names = names or [name for name in catalog.parts("backbones") if name != ELSEWHERE]
    console = standard_streams.console()
    cli.start_keras()
    if per_layer:
        _print_layers(names[0], size, console)
        return 0
    console.print(_row("backbone", "parameters", "mult-adds", "memory", "top-1", "weights"))
    for name in names:
        _print_backbone(name, size or (224, 224), console)
    return 0


def _size(text):
    lengths = text.strip("[]()").split(",")
    if len(lengths) != 2 or not all(n.strip().isdecimal() and int(n) > 0 for n in lengths):
        raise RecipeError(f"size: expected height,width such as 224,224; got {text!r}.")
    return tuple(map(int, lengths))


def _row(name, parameters, multiply_adds, memory, top1, weights):
    return f"{name:20} {parameters:>12} {multiply_adds:>10} {memory:>9} {top1:>6}  {weights}"


def _has_forms(name):
    return any(argument.name == "form" for argument in catalog.find("backbones", name).arguments)


def _family(name):
    import importlib

    name = name.removeprefix("keras_")  # Keras's VGG has the layers of ours
    return importlib.import_module(catalog.find("backbones", name).module)


def _own_size(name):
    """(height, width) of the images that a network was published with."""
    family = _family(name)
    size = getattr(family, "SIZES", {}).get(name, 224)
    return getattr(family, "ORIGINAL", {"size": (size, size)})["size"]


def _own_classifier(name):
    """The arguments of the `classifier` that a network was published with; None where there is none."""
    from visiontasks.weights.published import published

    original = getattr(_family(name), "ORIGINAL", None)
    if original is None and published(name)[1] != "none":
        return {"classes": 1000}
    return original and original["classifier"]


def _network(name, size, arguments):
    """The network as it was published, classification layers and all, as one Functional model."""
    import keras

    from visiontasks.backbones.backbone import taps_of
    from visiontasks.heads.classifier import Classifier

    backbone = catalog.find("backbones", name).load()(input_shape=(*size, 3))
    if arguments is None:
        return backbone
    head = Classifier(**arguments)
    (tap,) = head.taps(taps_of(backbone))
    x = backbone.output[tap]
    for layer in head.top:
        x = layer(x)
    return keras.Model(backbone.input, x)


def _costs(name, size):
    import keras

    from visiontasks.backbones.cost import layer_costs

    # of two forms, the one that the published weights and accuracy belong to
    form = {"form": "torchvision"} if _has_forms(name) else {}
    backbone = catalog.find("backbones", name).load()(input_shape=(*size, 3), **form)
    # an auxiliary classifier's layers are not the backbone's
    kept = {tap: tensor for tap, tensor in backbone.output.items() if not tap.startswith("aux")}
    backbone = keras.Model(backbone.input, kept)
    return backbone, layer_costs(backbone)


def _print_backbone(name, size, console):
    import math

    from visiontasks.backbones.backbone import Graph, levels
    from visiontasks.weights.published import published

    try:
        backbone, costs = _costs(name, size)
    except (UserError, ValueError) as error:
        console.print(f"{name:20} cannot be built at {size[0]}×{size[1]}: {error}")
        return
    top1, source = published(name)
    console.print(
        _row(
            name,
            f"{sum(c.parameters for c in costs):,}",
            f"{sum(c.multiply_adds for c in costs) / 1e9:.2f} G",
            f"{sum(4 * math.prod(c.shape) for c in costs) / 2**20:.0f} MB",
            "" if top1 is None else f"{top1:.1f}",
            source,
        )
    )
    graph = Graph(backbone.input, list(backbone.output.values()))
    for level, stride in levels(backbone).items():
        tensor = backbone.output[level]
        height, width, channels = tensor.shape[1:]
        console.print(
            f"    {level}  stride {stride:<3} {height}×{width}×{channels}, sees {graph.receptive_field(tensor)} px"
        )


def _print_layers(name, size, console):
    from visiontasks.backbones.cost import layer_costs

    size, classifier = size or _own_size(name), _own_classifier(name)
    costs = layer_costs(_network(name, size, classifier))
    told = "with its classification layers" if classifier else "without classification layers: none are published"
    which = ", the paper's form" if _has_forms(name) else ""
    console.print(f"{name}{which}, at {size[0]}×{size[1]}, {told}")
    form = "{:34} {:24} {:>16} {:>12} {:>15} {:>7} {:>6}"
    console.print(form.format("layer", "kind", "output", "parameters", "mult-adds", "stride", "sees"))
    for c in costs:
        shape = "×".join(map(str, c.shape))
        cells = (f"{c.parameters:,}", f"{c.multiply_adds:,}", c.stride or "", c.receptive_field or "")
        console.print(form.format(c.name, c.kind, shape, *map(str, cells)))
    parameters, multiply_adds = sum(c.parameters for c in costs), sum(c.multiply_adds for c in costs)
    console.print(form.format("together", "", "", f"{parameters:,}", f"{multiply_adds:,}", "", ""))


if __name__ == "__main__":
    main()
