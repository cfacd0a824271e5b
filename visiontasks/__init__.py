"""visiontasks: shared CNN backbones, a head for each vision task, on Keras 3. Everything heavy is imported on use.

import visiontasks as vt

train, val = vt.load_data("my_images", size=(256, 256))
model = vt.VisionModel(vt.backbone("efficientnet_lite0", weights="imagenet"), vt.heads.UNet(train.names["mask"]))
model.compile("adam")
model.fit(train, validation_data=val, epochs=10)
model.save("m.keras")
vt.load("m.keras")("photo.jpg").draw()
"""

import importlib
import sys

__version__ = "0.1.0"

# {public name: (module, name in it)}
_LAZY = {
    "VisionModel": ("visiontasks.model", "VisionModel"),
    "Predictor": ("visiontasks.api", "Predictor"),
    "Sample": ("visiontasks.sample", "Sample"),
    "Skeleton": ("visiontasks.skeleton", "Skeleton"),
    "load": ("visiontasks.api", "load"),
    "load_data": ("visiontasks.data.load", "load_data"),
    "load_model": ("visiontasks.api", "load_model"),
    "load_weights": ("visiontasks.initializing", "load_weights"),
    "from_recipe": ("visiontasks.api", "from_recipe"),
    "backbone": ("visiontasks.api", "backbone"),
    "layer_costs": ("visiontasks.backbones.cost", "layer_costs"),
    "check": ("visiontasks.check", "check"),
    "image_features": ("visiontasks.retrieval.features", "image_features"),
    "NeighborIndex": ("visiontasks.retrieval.index", "NeighborIndex"),
    "score": ("visiontasks.evaluation.evaluator", "score"),
    "heads": ("visiontasks.heads", None),
    "explain": ("visiontasks.explain", None),
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'visiontasks' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, symbol = _LAZY[name]
    if name == "VisionModel":  # its module imports Keras
        importlib.import_module("visiontasks.keras_backend").require()
    value = importlib.import_module(module)
    if symbol is not None:
        value = getattr(value, symbol)
    globals()[name] = value
    return value


def __dir__():
    return __all__


# so that keras.saving.load_model knows a VisionModel after `import keras, visiontasks` in this order
if "keras" in sys.modules and hasattr(sys.modules["keras"], "saving"):
    importlib.import_module("visiontasks.model")
