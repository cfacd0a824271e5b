"""What torchvision's classification networks answer, for a comparison with ours. Needs torch and torchvision alone.

    /usr/bin/python3 scripts/parity/torchvision_backbones.py FOLDER MODEL [MODEL …]

(Debian: apt-get install --no-install-recommends python3-torchvision libopenblas0-pthread.) For each model it writes
FOLDER/MODEL.pth, seeded random weights with random batch-norm statistics, and FOLDER/MODEL.npz: `images` uint8
(2, H, W, 3), `logits` (2, 1000), each pyramid level as "C2" and so on (2, h, w, c), and "aux1", "aux2" where there are
auxiliary classifiers. tests/weights/test_weights_torchvision.py reads them through our reader.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

# {model: (height, width, {level: the module whose output it is})}; of VGG and AlexNet a level is a pool's input
RESNET = {"C1": "relu", "C2": "layer1", "C3": "layer2", "C4": "layer3", "C5": "layer4"}
GOOGLENET = {"C1": "conv1", "C2": "conv3", "C3": "inception3b", "C4": "inception4e", "C5": "inception5b"}
INCEPTION = {"C1": "Conv2d_2b_3x3", "C2": "Conv2d_4a_3x3", "C3": "Mixed_5d", "C4": "Mixed_6e", "C5": "Mixed_7c"}
EFFICIENTNET = {f"C{i}": f"features.{n}.0.block.0" for i, n in ((1, 2), (2, 3), (3, 4), (4, 6))} | {"C5": "features.8"}
MODELS = {
    "alexnet": (224, 224, 2),
    "vgg11": (224, 224, 0),
    "vgg16": (224, 224, 0),
    "vgg16_bn": (224, 224, 0),
    "googlenet": (192, 224, GOOGLENET),
    "resnet18": (97, 130, RESNET),
    "resnet50": (97, 130, RESNET),
    "resnet50_dilated": (97, 130, RESNET),
    "resnext50_32x4d": (97, 130, RESNET),
    "wide_resnet50_2": (97, 130, RESNET),
    "inception_v3": (149, 171, INCEPTION),
    "efficientnet_b0": (96, 130, EFFICIENTNET),
}
DILATED = "_dilated"  # in place of the last two strides
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def random_images(height, width, count=8):
    """Images with structure of several sizes and of different contrast: uint8 (count, H, W, 3)."""
    rng = np.random.default_rng(0)
    total = np.full((count, height, width, 3), 128.0)
    for side in (64, 16, 4, 1):
        small = rng.normal(0, 1, (count, height // side + 1, width // side + 1, 3)).repeat(side, 1).repeat(side, 2)
        total += 60 * rng.random((count, 1, 1, 1)) * small[:, :height, :width]
    return np.clip(total, 0, 255).astype(np.uint8)


def randomise(model, inputs):
    """Weights under which every layer's output has a scale of about one, and nothing is left at 0 or 1."""

    def set_statistics(norm, args):
        # off the true ones by a little, and so that the layers behind see what this one then really gives
        mean, variance = args[0].mean((0, 2, 3)), args[0].var((0, 2, 3))
        norm.running_mean.copy_(mean + 0.2 * variance.sqrt() * torch.randn(len(mean)))
        norm.running_var.copy_(variance * (0.7 + 0.6 * torch.rand(len(mean))))

    hooks = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
            torch.nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            # else what is positive behind every ReLU adds up, and batch norms blow its rounding up from layer to layer
            module.weight.data -= module.weight.mean((1, 2, 3), keepdim=True)
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, torch.nn.BatchNorm2d):
            # shifts as large as scales: with the scales alone a deep random network blows differences up (float32 is
            # then 7e-4 off float64 at the end of resnet50), and a comparison shows rounding instead of mistakes
            module.weight.data = 0.3 + 0.4 * torch.rand(module.num_features)
            module.bias.data = 0.7 * torch.randn(module.num_features)
            hooks.append(module.register_forward_pre_hook(set_statistics))
    model.eval()
    auxiliary = _auxiliary(model)
    hooks += [
        module.register_forward_hook(lambda m, args, output, aux=aux: void(aux(output)))
        for aux, module in auxiliary.values()
    ]
    if hooks:
        with torch.no_grad():
            model(inputs)
    for hook in hooks:
        hook.remove()


def void(answer):
    """None, so that a hook changes nothing."""


def _auxiliary(model):
    """{name: (the classifier, the module that it follows)} of GoogLeNet's auxiliary classifiers."""
    if not isinstance(model, torchvision.models.GoogLeNet):
        return {}
    return {"aux1": (model.aux1, model.inception4a), "aux2": (model.aux2, model.inception4d)}


def reference(name, folder):
    height, width, levels = MODELS[name]
    torch.manual_seed(0)
    extra = {"init_weights": False} if name.startswith(("vgg", "googlenet", "inception")) else {}  # all drawn below
    if name in ("googlenet", "inception_v3"):
        extra["transform_input"] = True
    if name.endswith(DILATED):
        extra = {"replace_stride_with_dilation": [False, True, True]}
    model = getattr(torchvision.models, name.removesuffix(DILATED))(weights=None, **extra)
    images = random_images(height, width)
    inputs = ((torch.from_numpy(images).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    randomise(model, inputs)
    images, inputs = images[:2], inputs[:2]
    torch.save(model.state_dict(), folder / f"{name}.pth")

    found = {}

    def keep(key):
        # a copy: the next layer's ReLU may work in place
        return lambda module, args, output: found.setdefault(key, output.clone())

    if isinstance(levels, int):
        pools = [m for m in model.features if isinstance(m, torch.nn.MaxPool2d)]
        for level, pool in enumerate(pools, start=levels):
            pool.register_forward_hook(lambda m, args, out, key=f"C{level}": found.update({key: args[0]}))
        model.features.register_forward_hook(keep("C5"))
    else:
        modules = dict(model.named_modules())
        for level, module in levels.items():
            modules[module].register_forward_hook(keep(level))
    for key, (aux, module) in _auxiliary(model).items():
        module.register_forward_hook(lambda m, args, output, key=key, aux=aux: found.update({key: aux(output)}))
    with torch.no_grad():
        logits = model(inputs)
    arrays = {key: t.permute(0, 2, 3, 1) if t.ndim == 4 else t for key, t in found.items()}
    np.savez(
        folder / f"{name}.npz", images=images, logits=logits, **{k: np.ascontiguousarray(a) for k, a in arrays.items()}
    )


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(MODELS)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        reference(name, folder)
        print(name, flush=True)


if __name__ == "__main__":
    main()
