"""`FeaturePyramid`: levels with equal channels, each with the features of the deeper levels added."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Channels, Checked
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.nearest_resize import resize_axis


@keras.saving.register_keras_serializable(package="visiontasks")
class FeaturePyramid(Checked, keras.layers.Layer):
    """Adds the features of deeper levels to finer ones, from the top down.

    Lin et al. 2017, https://arxiv.org/abs/1612.03144, section 3. Input: feature maps (B, H, W, any channels), finest
    first, in decreasing sizes. Output: maps (B, H, W, filters) of the same sizes, then the added levels.

    Args:
        filters: channels of every output map.
        top: levels added on top. None; "max_pool": one, every second position of the last map (the paper's footnote 3);
            "convs": two, by 3×3 convolutions of stride 2 with a ReLU between them (Lin et al. 2017,
            https://arxiv.org/abs/1708.02002, footnote 2; as in torchvision they start from the pyramid's last map, not
            from the backbone's).
        batch_norm: normalize after each convolution, which then has no bias; not those of `top`.
    """

    def __init__(
        self,
        filters: Channels = 256,
        top: Literal["max_pool", "convs"] | None = None,
        batch_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.top, self.batch_norm = filters, top, batch_norm

    def build(self, shapes):
        def conv(name, kernel, stride=1):
            # as in torchvision: it keeps the input's variance, because no ReLU follows
            initializer = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
            layer = keras.layers.Conv2D(
                self.filters,
                kernel,
                stride,
                padding="same" if stride == 1 else "valid",
                kernel_initializer=initializer,
                use_bias=not self.batch_norm or name.startswith("top"),
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(shapes[int(name[-1])] if kernel == 1 else (None, None, None, self.filters))
            return layer

        self.lateral = [conv(f"lateral{i}", 1) for i in range(len(shapes))]
        self.output_convs = [conv(f"output{i}", 3) for i in range(len(shapes))]
        self.top_convs = [conv(f"top{i}", 3, 2) for i in range(2)] if self.top == "convs" else []
        self.norms = {}
        for layer in (*self.lateral, *self.output_convs) if self.batch_norm else ():
            norm = BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{layer.name}_bn", dtype=self.dtype_policy)
            norm.build((None, None, None, self.filters))
            self.norms[layer.name] = norm

    def _conv(self, layer, x, training):
        x = layer(x)
        return self.norms[layer.name](x, training=training) if self.batch_norm else x

    def call(self, maps, training=None):
        merged = self._conv(self.lateral[-1], maps[-1], training)
        outputs = [self._conv(self.output_convs[-1], merged, training)]
        for x, lateral, conv in zip(maps[-2::-1], self.lateral[-2::-1], self.output_convs[-2::-1], strict=True):
            x = self._conv(lateral, x, training)
            merged = x + enlarge(merged, tuple(x.shape[1:3]))
            outputs.insert(0, self._conv(conv, merged, training))
        if self.top == "max_pool":
            outputs.append(outputs[-1][:, ::2, ::2])
        for i, conv in enumerate(self.top_convs):
            x = outputs[-1] if i == 0 else ops.relu(outputs[-1])
            # pad all borders equally, as PyTorch does; Keras's "same" pads an even size at one border only
            outputs.append(conv(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))))
        return outputs

    def compute_output_shape(self, shapes):
        outputs = [(*shape[:3], self.filters) for shape in shapes]
        for _ in range({None: 0, "max_pool": 1, "convs": 2}[self.top]):
            batch, height, width, filters = outputs[-1]
            outputs.append((batch, height and (height + 1) // 2, width and (width + 1) // 2, filters))
        return outputs


def enlarge(x, size: tuple[int, int]):
    """Resize a map (B, h, w, C) to `size` (height, width) by the nearest position, rounded down."""
    for axis, wanted in enumerate(size, start=1):
        x = resize_axis(x, wanted, axis)
    return x
