"""How exactly a patch alone gives the activation that it gave in its image, for ten channels of a backbone.

    python scripts/parity/patches.py [vgg16 resnet18] [tap=C4] [size=224]

The channels are spread over the tap; images are generated scenes, weights random. For each channel the patches that
excite it most, at most one from an image, and the four corners' positions, where padding takes part, are computed from
`ReceptiveFields.alone` of the image and nothing else. Printed is the largest difference, relative to the channel's
highest activation; and how many of the values are not 0.
"""

import sys

import keras
import numpy as np
from keras import ops

from visiontasks import api, explain
from visiontasks.data.sources.shapes import Shapes

CHANNELS, IMAGES = 10, 4


def differences(name, tap, size):
    keras.utils.set_random_seed(0)
    backbone = api.backbone(name, input_shape=(None, None, 3))
    run = keras.Function(backbone.input, backbone.output[tap])
    images = [Shapes(count=IMAGES, size=(size, size))[i].image for i in range(IMAGES)]
    width = backbone.output[tap].shape[-1]
    channels = list(range(0, width, width // CHANNELS))[:CHANNELS]
    fields = explain.ReceptiveFields(backbone, tap, (size, size))
    whole = [values_of(run, image) for image in images]
    found = explain.patches(backbone, images, tap, channels, count=2)
    places = {(patch.image, patch.position) for best in found.values() for patch in best}
    rows, columns = fields.cells
    places |= {(0, (row, column)) for row in (0, rows - 1) for column in (0, columns - 1)}
    scale, cut, alive, most = np.max([maps.max(axis=(0, 1))[channels] for maps in whole], axis=0), 0, 0, 0.0
    for number, position in places:
        part, there = fields.alone(*position)
        value = values_of(run, part.cut(images[number]))[there][channels]
        expected = whole[number][position][channels]
        most, alive = max(most, (np.abs(value - expected) / scale).max()), alive + (expected > 0).sum()
        cut += (part.bottom - part.top) * (part.right - part.left) < size**2
    field = fields.field(rows // 2, columns // 2)
    print(
        f"{name} {tap}: field {field.bottom - field.top}, stride {fields.stride}; {len(channels)} channels at "
        f"{len(places)} positions, of which {cut} need less than the image; {alive} of {len(places) * len(channels)} "
        f"values are not 0; largest relative difference {most:.1e}"
    )


def values_of(run, image):
    return ops.convert_to_numpy(run(ops.convert_to_tensor(image[None])))[0]


def main():
    words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    for name in [word for word in sys.argv[1:] if "=" not in word] or ["vgg16", "resnet18"]:
        differences(name, words.get("tap", "C4"), int(words.get("size", 224)))


if __name__ == "__main__":
    main()
