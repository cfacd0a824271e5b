"""`FeaturePyramid`: levels of equal channels, each of which sees what the deeper ones know."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Checked, Count
from visiontasks.layers.nearest_resize import stretched


def numbers(levels) -> list[int]:
    """The numbers of levels given by name: level n has stride 2ⁿ.

    Raises:
        ValueError: a name is not C and a number.
    """
    for name in levels:
        if not (name[:1] == "C" and name[1:].isdigit()):
            raise ValueError(f"levels: expected C1, C2, …, since anchors need a level's stride; got {name!r}.")
    return [int(name[1:]) for name in levels]


@keras.saving.register_keras_serializable(package="visiontasks")
class FeaturePyramid(Checked, keras.layers.Layer):
    """Adds what the deeper levels know to the finer ones, from the top down.

    Lin et al. 2017, https://arxiv.org/abs/1612.03144, section 3. Takes feature maps (B, H, W, channels of any number),
    the finest first, of any sizes that fall; gives maps (B, H, W, filters) of the same sizes, and then the added ones.

    Args:
        filters: channels of every map that comes out.
        top: levels added on top: None; "max_pool": one, every second position of the last (the paper's footnote 3);
            "convs": two by 3×3 convolutions of stride 2, ReLU between (Lin et al. 2017,
            https://arxiv.org/abs/1708.02002, footnote 2; as in torchvision from the pyramid's last map, not from the
            backbone's).
    """

    def __init__(self, filters: Count = 256, top: Literal["max_pool", "convs"] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.top = filters, top

    def build(self, shapes):
        def conv(name, kernel, stride=1):
            # as in torchvision: the variance of what comes in is kept, no ReLU follows
            initializer = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
            made = keras.layers.Conv2D(
                self.filters,
                kernel,
                stride,
                padding="same" if stride == 1 else "valid",
                kernel_initializer=initializer,
                dtype=self.dtype_policy,
                name=name,
            )
            made.build(shapes[int(name[-1])] if kernel == 1 else (None, None, None, self.filters))
            return made

        self.lateral = [conv(f"lateral{i}", 1) for i in range(len(shapes))]
        self.output_convs = [conv(f"output{i}", 3) for i in range(len(shapes))]
        self.top_convs = [conv(f"top{i}", 3, 2) for i in range(2)] if self.top == "convs" else []

    def call(self, maps):
        merged = self.lateral[-1](maps[-1])
        found = [self.output_convs[-1](merged)]
        for x, lateral, conv in zip(maps[-2::-1], self.lateral[-2::-1], self.output_convs[-2::-1], strict=True):
            x = lateral(x)
            merged = x + enlarge(merged, tuple(x.shape[1:3]))
            found.insert(0, conv(merged))
        if self.top == "max_pool":
            found.append(found[-1][:, ::2, ::2])
        for i, conv in enumerate(self.top_convs):
            x = found[-1] if i == 0 else ops.relu(found[-1])
            # the same border on all sides, as PyTorch pads; Keras's "same" pads an even side on one alone
            found.append(conv(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))))
        return found

    def compute_output_shape(self, shapes):
        found = [(*shape[:3], self.filters) for shape in shapes]
        for _ in range({None: 0, "max_pool": 1, "convs": 2}[self.top]):
            batch, height, width, filters = found[-1]
            found.append((batch, height and (height + 1) // 2, width and (width + 1) // 2, filters))
        return found


def enlarge(x, size: tuple[int, int]):
    """A map (B, h, w, C) at `size` (height, width), each position with the value of the nearest, rounded down."""
    for axis, wanted in enumerate(size, start=1):
        x = stretched(x, wanted, axis)
    return x
