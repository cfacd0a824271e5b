"""CSPDarknet: the backbone of YOLOv8.

C.-Y. Wang et al.: CSPNet (2019), https://arxiv.org/abs/1911.11929; A. Bochkovskiy et al.: YOLOv4 (2020),
https://arxiv.org/abs/2004.10934, section 3.4, which names it. Stages, channels and variants are those of the published
YOLOv8 networks.
"""

import keras

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers import csp
from visiontasks.layers.pixel_normalization import PixelNormalization

NAMES = {
    "csp_darknet_n": "n",
    "csp_darknet_s": "s",
    "csp_darknet_m": "m",
    "csp_darknet_l": "l",
    "csp_darknet_x": "x",
}


@checked
def csp_darknet(
    variant: csp.Variant, weights: str | None = None, input_shape: InputShape = (None, None, 3)
) -> keras.Model:
    """A strided convolution, then four stages of a strided convolution and a cross stage partial block each.

    Taps: "C1" to "C5", the end of each stage: 64, 128, 256, 512, 1024 channels times the variant's width multiple, at
    most 1024 (n, s), 768 (m) or 512 (l, x) before it. C5 includes pools of 5, 9 and 13 positions.

    Args:
        variant: "n", "s", "m", "l" or "x".
        weights: a `.keras` or `.weights.h5` file, or None: random.
        input_shape: (height, width, 3); None for a variable size.

    Raises:
        UserError: the weights are not available.
    """
    inputs = image_input(input_shape)
    x = PixelNormalization((0.0,) * 3, (255.0,) * 3, name="pixels")(inputs)
    x = csp.convolution(x, csp.width(64, variant), 3, "stem", stride=2)
    taps = {"C1": x}
    for level, blocks in enumerate((3, 6, 6, 3), start=2):
        filters = csp.width(64 * 2 ** (level - 1), variant)
        x = csp.convolution(x, filters, 3, f"stage{level}_stride", stride=2)
        x = csp.csp_block(x, filters, csp.depth(blocks, variant), f"stage{level}")
        if level == 5:
            x = csp.pooling_pyramid(x, filters, "pyramid")
        taps[f"C{level}"] = x
    model = pyramid_model(inputs, taps, f"csp_darknet_{variant}")
    load_weights(model, weights)
    return model
