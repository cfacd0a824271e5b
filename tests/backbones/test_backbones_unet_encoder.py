import pytest

from visiontasks.backbones.unet_encoder import unet_encoder
from visiontasks.errors import UserError


def test_parameters_of_the_paper():
    """Figure 1's contracting path: 3×3 convolutions with biases, 3-64-64, then 128, 256, 512, 1024, twice each."""
    widths = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    widths += [(256, 512), (512, 512), (512, 1024), (1024, 1024)]
    encoder = unet_encoder(batch_norm=False)
    assert encoder.count_params() == sum(9 * a * b + b for a, b in widths) == 18_843_200


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_depth_gives_the_levels(depth):
    encoder = unet_encoder(filters=2, depth=depth, dropout=0.5, input_shape=(33, 50, 3))
    assert list(encoder.output) == [f"C{n}" for n in range(depth)]
    last = encoder.output[f"C{depth - 1}"]
    stride = 2 ** (depth - 1)
    assert last.shape == (None, -(-33 // stride), -(-50 // stride), 2 * stride)


def test_errors():
    with pytest.raises(UserError, match="has no ImageNet weights"):
        unet_encoder(weights="imagenet")
    with pytest.raises(UserError, match="depth"):
        unet_encoder(depth=0)
