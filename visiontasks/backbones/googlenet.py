"""GoogLeNet: inception modules, parallel convolutions of several sizes after 1×1 convolutions that reduce the channels.

C. Szegedy et al.: Going Deeper with Convolutions (2014), https://arxiv.org/abs/1409.4842, table 1 and section 5. In
torchvision's form every convolution has a batch norm, responses are not normalized, and the 5×5 convolutions are 3×3 (a
mistake that its weights were trained with).
"""

from typing import Literal

import keras
from keras import layers

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.local_response_normalization import LocalResponseNormalization
from visiontasks.layers.normalization import Norm, normalization
from visiontasks.layers.pixel_normalization import PixelNormalization
from visiontasks.weights import googlenet as checkpoints
from visiontasks.weights import torchvision

# filters of 1×1; of the 1×1 before 3×3, 3×3; of the 1×1 before 5×5, 5×5; of the 1×1 after the pool: table 1
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_AUXILIARY = {"4a": "aux1", "4d": "aux2"}


@checked
def googlenet(
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    form: Literal["paper", "torchvision"] | None = None,
    norm: Norm | None = None,
    strict: bool = True,
) -> keras.Model:
    """GoogLeNet of 2014: 22 layers, nine of them inception modules, with taps for its auxiliary classifiers.

    Taps: "C1" to "C5" with 64, 192, 480, 832, 1024 channels, and "inception_4a", "inception_4d" (512, 528 channels at
    stride 16). If the image size is fixed, also "aux1" and "aux2": these two, averaged over a 4×4 grid and reduced to
    128 channels. An auxiliary classifier is a `classifier` with tap aux1, pooling flatten, hidden [1024], dropout 0.7
    (section 5; as in torchvision, a 4×4 grid replaces its 5×5 windows at stride 3).

    Args:
        weights: "imagenet" (torchvision's), a PyTorch checkpoint with torchvision's names, a `.keras` or `.weights.h5`
            file, or None: random.
        input_shape: (height, width, 3); None for a variable size. Trained at 224×224.
        form: "paper" or "torchvision"; None: torchvision's form for torchvision's weights, otherwise the paper's.
        norm: the normalization after each convolution; None: batch in torchvision's form; in the paper's form only
            local response normalization at two points.
        strict: whether a checkpoint must fit completely; otherwise what fits is loaded and the rest is reported.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    form = form or ("torchvision" if torchvision.has_names_of(weights) else "paper")
    file = torchvision.file_of("googlenet", weights)
    paper = form == "paper"
    norm = norm or (None if paper else "batch")
    inputs = image_input(input_shape)
    x = PixelNormalization((127.5,) * 3, (127.5,) * 3, name="pixels")(inputs)
    taps = {}
    x = taps["C1"] = _conv(layers.ZeroPadding2D(3, name="conv1_pad")(x), 64, 7, "conv1", norm, stride=2)
    x = _pool(x, 3, "pool1")
    if paper:
        x = LocalResponseNormalization(name="norm1")(x)
    x = _conv(_conv(x, 64, 1, "conv2", norm), 192, 3, "conv3", norm)
    x = taps["C2"] = LocalResponseNormalization(name="norm2")(x) if paper else x
    for name, filters in MODULES.items():
        if name[1] == "a":
            level = int(name[0]) - 1
            x = _pool(x, 2 if name == "5a" and not paper else 3, f"pool{level}")
        x = inception(x, *filters, name=f"inception_{name}", norm=norm, largest=5 if paper else 3)
        taps[f"C{name[0]}"] = x  # a later module of the stage replaces the earlier one
        if name in _AUXILIARY:
            taps[f"inception_{name}"] = x
            if None not in x.shape[1:3]:
                aux = _AUXILIARY[name]
                grid = layers.AdaptiveAveragePooling2D(4, name=f"{aux}_pool")(x)
                taps[aux] = _conv(grid, 128, 1, f"{aux}_conv", norm)
    model = pyramid_model(inputs, taps, "googlenet")
    known = {layer.name for layer in model.layers}

    def layer_of(module):  # with a variable size there are no auxiliary layers
        layer = checkpoints.layer_of(module)
        return None if layer and layer.startswith("aux") and layer not in known else layer

    load_weights(model, file, layer_of, strict)
    return model


def inception(
    x,
    ones: int,
    threes_reduce: int | None,
    threes: int,
    fives_reduce: int | None,
    fives: int,
    pool_project: int | None,
    name: str,
    norm: Norm | None = None,
    largest: int = 5,
):
    """An inception module (figure 2b of the paper): four parallel branches, concatenated.

    With None for the three reductions it is the naive module of figure 2a, whose pooling branch keeps all channels.

    Args:
        x: feature maps (B, H, W, C).
        ones, threes, fives: filters of the 1×1, 3×3 and 5×5 convolutions.
        threes_reduce, fives_reduce: filters of the 1×1 convolutions before them.
        pool_project: filters of the 1×1 convolution after the 3×3 max pool.
        name: prefix of the layers' names.
        norm: the normalization after each convolution.
        largest: kernel size of the largest convolution.

    Returns:
        (B, H, W, sum of the branches' filters).
    """
    one = _conv(x, ones, 1, f"{name}_1x1", norm)
    three = x if threes_reduce is None else _conv(x, threes_reduce, 1, f"{name}_3x3_reduce", norm)
    three = _conv(three, threes, 3, f"{name}_3x3", norm)
    five = x if fives_reduce is None else _conv(x, fives_reduce, 1, f"{name}_5x5_reduce", norm)
    five = _conv(five, fives, largest, f"{name}_5x5", norm)
    pool = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    if pool_project is not None:
        pool = _conv(pool, pool_project, 1, f"{name}_pool_project", norm)
    return layers.Concatenate(name=name)([one, three, five, pool])


def _conv(x, filters, kernel, name, norm, stride=1):
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=norm is None,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    if norm:
        x = normalization(norm, f"{name}_bn", filters, epsilon=1e-3)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _pool(x, size, name):
    """Max pooling at stride 2 whose last window may exceed the border: 112 to 56, as in Caffe and torchvision."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)  # after a ReLU, zero is equivalent to -inf
    return layers.MaxPooling2D(size, 2, name=name)(x)
