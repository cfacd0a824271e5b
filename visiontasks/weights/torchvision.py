"""torchvision's ImageNet checkpoints: their files, published accuracy, and download.

https://pytorch.org/vision/stable/models.html; top-1 in percent of the 50,000 validation images, one center crop, as
published there. The eight digits at the end of a file's name begin its SHA-256.
"""

import hashlib
from pathlib import Path

import keras

from visiontasks.errors import UserError
from visiontasks.weights.checkpoint import SUFFIXES
from visiontasks.weights.pretrained import IMAGENET, is_imagenet

URL = "https://download.pytorch.org/models/"

# models of keras.applications that can load torchvision's checkpoints, and the module of this folder for it
KERAS_MODELS = {"InceptionV3": "inception_v3", **{f"EfficientNetB{n}": "efficientnet" for n in range(8)}}

# {backbone: {variant: (file, published top-1 or None)}}, the best first
CHECKPOINTS = {
    "alexnet": {"v1": ("alexnet-owt-7be5be79.pth", 56.522)},
    "vgg11": {"v1": ("vgg11-8a719046.pth", 69.020)},
    "vgg13": {"v1": ("vgg13-19584684.pth", 69.928)},
    "vgg16": {
        "v1": ("vgg16-397923af.pth", 71.592),
        # for detectors: its classification layers are filler
        "features": ("vgg16_features-amdegroot-88682ab5.pth", None),
    },
    "vgg19": {"v1": ("vgg19-dcbb9e9d.pth", 72.376)},
    "vgg11_bn": {"v1": ("vgg11_bn-6002323d.pth", 70.370)},
    "vgg13_bn": {"v1": ("vgg13_bn-abd245e5.pth", 71.586)},
    "vgg16_bn": {"v1": ("vgg16_bn-6c64b313.pth", 73.360)},
    "vgg19_bn": {"v1": ("vgg19_bn-c79401a0.pth", 74.218)},
    "googlenet": {"v1": ("googlenet-1378be20.pth", 69.778)},
    "resnet18": {"v1": ("resnet18-f37072fd.pth", 69.758)},
    "resnet34": {"v1": ("resnet34-b627a593.pth", 73.314)},
    "resnet50": {"v2": ("resnet50-11ad3fa6.pth", 80.858), "v1": ("resnet50-0676ba61.pth", 76.130)},
    "resnet101": {"v2": ("resnet101-cd907fc2.pth", 81.886), "v1": ("resnet101-63fe2227.pth", 77.374)},
    "resnet152": {"v2": ("resnet152-f82ba261.pth", 82.284), "v1": ("resnet152-394f9c45.pth", 78.312)},
    "resnext50": {"v2": ("resnext50_32x4d-1a0047aa.pth", 81.198), "v1": ("resnext50_32x4d-7cdf4587.pth", 77.618)},
    "resnext101": {"v2": ("resnext101_32x8d-110c445d.pth", 82.834), "v1": ("resnext101_32x8d-8ba56ff5.pth", 79.312)},
    "resnext101_64x4d": {"v1": ("resnext101_64x4d-173b62eb.pth", 83.246)},
    "wide_resnet50": {"v2": ("wide_resnet50_2-9ba9bcbe.pth", 81.602), "v1": ("wide_resnet50_2-95faca4d.pth", 78.468)},
    "wide_resnet101": {
        "v2": ("wide_resnet101_2-d733dc28.pth", 82.510),
        "v1": ("wide_resnet101_2-32ee1156.pth", 78.848),
    },
    # for models of keras.applications, whose default is Keras's weights; each at its image size. Before 0.16
    # torchvision named seven of them after other hashes: https://github.com/pytorch/vision/pull/8036
    "inception_v3": {"torchvision": ("inception_v3_google-0cc3c7bd.pth", 77.294)},
    "efficientnet_b0": {"torchvision": ("efficientnet_b0_rwightman-7f5810bc.pth", 77.692)},
    "efficientnet_b1": {"torchvision": ("efficientnet_b1-c27df63c.pth", 79.838)},
    "efficientnet_b2": {"torchvision": ("efficientnet_b2_rwightman-c35c1473.pth", 80.608)},
    "efficientnet_b3": {"torchvision": ("efficientnet_b3_rwightman-b3899882.pth", 82.008)},
    "efficientnet_b4": {"torchvision": ("efficientnet_b4_rwightman-23ab8bcd.pth", 83.384)},
    "efficientnet_b5": {"torchvision": ("efficientnet_b5_lukemelas-1a07897c.pth", 83.444)},
    "efficientnet_b6": {"torchvision": ("efficientnet_b6_lukemelas-24a108a5.pth", 84.008)},
    "efficientnet_b7": {"torchvision": ("efficientnet_b7_lukemelas-c5b4e57e.pth", 84.122)},
}


def has_names_of(weights: str | Path | None) -> bool:
    """Whether `weights` are torchvision's: "imagenet", a variant of it, or a file that PyTorch wrote."""
    return weights is not None and (is_imagenet(weights) or Path(weights).suffix in SUFFIXES)


def variant_of(name: str, weights: str | Path | None) -> str | None:
    """The published variant of `weights`, given by name or as a file with the published name."""
    variants = CHECKPOINTS.get(name, {})
    if is_imagenet(weights):
        return str(weights).partition(":")[2] or next(iter(variants), None)
    return next((key for key, (file, _) in variants.items() if weights and Path(weights).name == file), None)


def file_of(name: str, weights: str | None) -> str | Path | None:
    """The file for a backbone's `weights` argument "imagenet" or "imagenet:VARIANT".

    It is downloaded once, into Keras's folder of models, and its hash is checked. Any other argument is returned as is.

    Raises:
        UserError: there is no such variant, or the file is not available or not the published one.
    """
    if not is_imagenet(weights):
        return weights
    variants = CHECKPOINTS.get(name, {})
    variant = variant_of(name, weights)
    if variant not in variants:
        known = f"Variants: {', '.join(f'{IMAGENET}:{v}' for v in variants)}." if variants else "Use null or a file."
        raise UserError(f"{weights!r} is not published for {name}. {known}", "weights")
    return download(variants[variant][0])


def download(file: str) -> Path:
    """The path of one of torchvision's files, downloaded if necessary.

    Raises:
        UserError: it cannot be downloaded, or its hash does not match its name.
    """
    try:
        path = Path(keras.utils.get_file(file, URL + file, cache_subdir="models"))
    except Exception as error:  # of the network, a proxy or the disk
        raise UserError(
            f"{URL}{file} could not be downloaded ({error}). Connect to the internet, or put the file into "
            "~/.keras/models ($KERAS_HOME/models), or give one as weights=PATH; efficientnet_lite0 needs no download.",
            "weights",
        ) from error
    expected = path.stem.rpartition("-")[2]
    with path.open("rb") as content:
        actual = hashlib.file_digest(content, "sha256").hexdigest()
    if not actual.startswith(expected):
        raise UserError(
            f"{path} is not the published file: its SHA-256 should begin with {expected}, it is {actual}. "
            "Delete it, so that it is downloaded again.",
            "weights",
        )
    return path
