"""What a network sees: maps of what a prediction is based on, whether they may be believed, filters and patches."""

import importlib

from visiontasks import keras_backend

# {public name: the file that it is in}; no file has a public name, since Python would make the file its attribute
_FILES = {
    "Deconvnet": "deconvolving",
    "Explained": "scoring",
    "dream": "dreaming",
    "grad_cam": "cam",
    "integrated_gradients": "attribution",
    "smooth_grad": "attribution",
    "occlusion": "sliding",
    "rise": "masking",
    "faithfulness": "believing",
    "curves": "believing",
    "ReceptiveFields": "receptive",
    "feature_maps": "channels",
    "filter_norms": "channels",
    "filters": "channels",
    "patches": "exciting",
    "pointing_game": "believing",
    "shuffled": "believing",
    "together": "believing",
}

__all__ = sorted(_FILES)


def __getattr__(name):
    if name not in _FILES:
        raise AttributeError(f"module 'visiontasks.explain' has no attribute {name!r}; it has {', '.join(__all__)}")
    keras_backend.require()
    return getattr(importlib.import_module(f"visiontasks.explain.{_FILES[name]}"), name)


def __dir__():
    return __all__
