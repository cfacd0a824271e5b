"""Writes the table of docs/layers.md: receptive field and cost of each layer beside the plain convolution.

    python scripts/layers_table.py

Computed by `visiontasks/backbones/cost.py`. A test asserts that the page is current.
"""

from pathlib import Path

FILE = Path(__file__).parents[1] / "docs" / "layers.md"
START, END = "<!-- table: scripts/layers_table.py -->\n", "<!-- end of table -->\n"
SIZE, CHANNELS = 28, 256


def table() -> str:
    """The rows, each for a map of 28×28×256 to as many channels, same padding, no bias."""
    import keras
    from keras import layers

    from visiontasks.backbones.cost import layer_costs
    from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
    from visiontasks.layers.l2_pooling import L2Pooling2D
    from visiontasks.layers.max_unpooling import MaxPoolingWithPositions2D
    from visiontasks.layers.mixed_pooling import MixedPooling2D
    from visiontasks.layers.separated_convolutions import FlattenedConv2D, SpatiallySeparableConv2D
    from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D

    plain = {"padding": "same", "use_bias": False}
    rows = {
        "`Conv2D` 3×3": layers.Conv2D(CHANNELS, 3, **plain),
        "`Conv2D` 5×5": layers.Conv2D(CHANNELS, 5, **plain),
        "`Conv2D` 1×1": layers.Conv2D(CHANNELS, 1, **plain),
        "`Conv2D` 3×3, dilation 2": layers.Conv2D(CHANNELS, 3, dilation_rate=2, **plain),
        "`Conv2D` 3×3, 32 groups": layers.Conv2D(CHANNELS, 3, groups=32, **plain),
        "`DepthwiseConv2D` 3×3": layers.DepthwiseConv2D(3, **plain),
        "`SeparableConv2D` 3×3": layers.SeparableConv2D(CHANNELS, 3, **plain),
        "`SpatiallySeparableConv2D` 3×3": SpatiallySeparableConv2D(CHANNELS, 3, **plain),
        "`SpatiallySeparableConv2D` 5×5": SpatiallySeparableConv2D(CHANNELS, 5, **plain),
        "`FlattenedConv2D` 3×3": FlattenedConv2D(CHANNELS, 3, **plain),
        "`MaxPooling2D` 2×2": layers.MaxPooling2D(2),
        "`MaxPoolingWithPositions2D` 2×2": MaxPoolingWithPositions2D(2),
        "`DilatedMaxPooling2D` 2×2, dilation 2": DilatedMaxPooling2D(2, 2),
        "`L2Pooling2D` 2×2": L2Pooling2D(2),
        "`MixedPooling2D` 2×2": MixedPooling2D(2),
        "`SpatialPyramidPooling2D` 4, 2, 1": SpatialPyramidPooling2D(),
    }
    text = "| layer | output | receptive field | parameters | multiply-adds, millions |\n" + "| --- " * 5 + "|\n"
    for name, layer in rows.items():
        image = keras.Input((SIZE, SIZE, CHANNELS))
        outputs = layer(image)
        first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        cost = layer_costs(keras.Model(image, first))[-1]
        seen = f"{cost.receptive_field}×{cost.receptive_field}" if cost.receptive_field else "all"
        shape = "×".join(map(str, cost.shape))
        work = f"{cost.multiply_adds / 1e6:.1f}" if cost.multiply_adds else "0"
        text += f"| {name} | {shape} | {seen} | {cost.parameters:,} | {work} |\n"
    return text


def page() -> str:
    """The page with the table as the code computes it."""
    before, _, rest = FILE.read_text(encoding="utf-8").partition(START)
    return before + START + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
