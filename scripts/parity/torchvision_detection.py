"""What torchvision's detectors answer, for a comparison with ours. Needs torch and torchvision alone.

    /usr/bin/python3 scripts/parity/torchvision_detection.py FOLDER MODEL [MODEL …] [photographs=DIR]

For each model it writes FOLDER/MODEL.pth, seeded random weights, and FOLDER/MODEL.npz: `images` uint8 (2, H, W, 3),
targets as `boxes` (2, G, 4) and `classes` (2, G) from 0, raw answers, `final_boxes0`, `final_scores0`, `final_classes0`
(of image 0, and so on), of Mask R-CNN also `masks` uint8 (2, G, H, W) and `final_masks0` of the first eight, of
Keypoint R-CNN `keypoints` (2, G, K, 3), `final_keypoints0` and `final_logits0`, `loss_…` of each term and `grad_…` of
some weights. Of other models that take images of any size also `b_images` and `b_…`, the answers to them. Random
choices are replaced by the first ones. With a folder of JPEGs, `photographs0_images` and `photographs0_…` are the
answers to its first two at one size, and `photographs1_…` those to the next two: at two sizes, or at the one that the
model takes; computed in float64.
"""

import copy
import functools
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision_backbones import MEAN, STD, random_images, randomise

CLASSES = 4  # beside the background
KEYPOINTS = 5
PHOTOGRAPHS = ((192, 416), (480, 352))  # sizes that they are read at


def spread(model, scale):
    """Weights that keep the size of what passes, so that answers differ from cell to cell."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            module.weight.data -= module.weight.mean((1, 2, 3), keepdim=True)
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    for module in scale:
        module.weight.data *= 0.08


def ssd300_vgg16():
    model = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, trainable_backbone_layers=5
    )
    spread(model, [m for m in model.head.modules() if isinstance(m, torch.nn.Conv2d)])
    return model, (300, 300)


def on_pyramid(make, **arguments):
    """A detector on ResNet-50 with a feature pyramid, whose batch norms stay as they are in training too."""
    torch.manual_seed(0)  # what nothing below draws anew
    model = make(
        weights=None,
        weights_backbone=None,
        trainable_backbone_layers=5,
        **arguments,
    )
    sizes = ((224, 288), (320, 192))
    torch.manual_seed(0)
    inputs = ((torch.from_numpy(seen(sizes[0], 8)).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)
    randomise(model.backbone, inputs)
    # what a block adds is small beside what it gets, as in trained networks: with more, rounding grows from block to
    # block until ReLUs switch, and torchvision's own gradients in float32 are 0.4% off those in float64
    for name, module in model.backbone.body.named_modules():
        if name.endswith("bn3"):
            module.weight.data *= 0.3
            module.bias.data *= 0.3
    return model, sizes


def retinanet_resnet50_fpn():
    model, sizes = on_pyramid(torchvision.models.detection.retinanet_resnet50_fpn, num_classes=CLASSES)
    spread(model.head, [])
    with torch.no_grad():
        features = list(model.backbone(prepared(sizes[0])).values())
        classes, boxes = model.head.classification_head, model.head.regression_head
        for part, conv, std in ((classes, classes.cls_logits, 1.0), (boxes, boxes.bbox_reg, 0.3)):
            conv.weight.data *= std / part(features).std()
    return model, sizes


def fasterrcnn_resnet50_fpn(make=torchvision.models.detection.fasterrcnn_resnet50_fpn):
    model, sizes = on_pyramid(
        make,
        num_classes=CLASSES + 1,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=200,
        rpn_pre_nms_top_n_train=400,
        rpn_post_nms_top_n_train=300,
        box_batch_size_per_image=64,
    )
    spread(model.rpn.head, [])
    with torch.no_grad():
        features = list(model.backbone(prepared(sizes[0])).values())
        for conv, number, std in ((model.rpn.head.cls_logits, 0, 1.0), (model.rpn.head.bbox_pred, 1, 0.2)):
            conv.weight.data *= std / torch.cat([x.flatten() for x in model.rpn.head(features)[number]]).std()
        spread(model.roi_heads.box_head, [])
        for module in model.roi_heads.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=(2 / module.in_features) ** 0.5)
                module.weight.data -= module.weight.mean(1, keepdim=True)
                torch.nn.init.normal_(module.bias, std=0.1)
        heads = model.roi_heads
        branches = {key: getattr(heads, key) for key in ("mask_roi_pool", "keypoint_roi_pool")}
        heads.mask_roi_pool = heads.keypoint_roi_pool = None  # boxes alone: the branches take most of the time
        found = answers(model, seen(sizes[0]))
        for key, value in branches.items():
            setattr(heads, key, value)
        last = model.roi_heads.box_predictor
        last.cls_score.weight.data *= 1.5 / float(found["raw_cls_logits"].std())
        last.bbox_pred.weight.data *= 1.0 / float(found["raw_bbox_regression"].std())
    return model, sizes


def maskrcnn_resnet50_fpn(make=torchvision.models.detection.maskrcnn_resnet50_fpn):
    # a mask of each of 100 detections takes most of a minute
    model, sizes = fasterrcnn_resnet50_fpn(functools.partial(make, box_detections_per_img=30))
    branch = (model.roi_heads.mask_head, model.roi_heads.mask_predictor)
    with torch.no_grad():
        for part in branch:
            spread(part, [])
        up = model.roi_heads.mask_predictor.conv5_mask
        torch.nn.init.kaiming_normal_(up.weight, mode="fan_out")
        up.weight.data -= up.weight.mean((0, 2, 3), keepdim=True)
        last = model.roi_heads.mask_predictor.mask_fcn_logits
        last.weight.data *= 1.5 / float(answers(model, seen(sizes[0]))["raw_masks"].std())
    return model, sizes


def maskrcnn_resnet50_fpn_v2():
    return maskrcnn_resnet50_fpn(torchvision.models.detection.maskrcnn_resnet50_fpn_v2)


def keypointrcnn_resnet50_fpn():
    make = torchvision.models.detection.keypointrcnn_resnet50_fpn
    made = functools.partial(make, num_keypoints=KEYPOINTS, box_detections_per_img=10)
    model, sizes = fasterrcnn_resnet50_fpn(made)
    with torch.no_grad():
        spread(model.roi_heads.keypoint_head, [])
        last = model.roi_heads.keypoint_predictor.kps_score_lowres
        torch.nn.init.normal_(last.bias, std=0.1)
        last.weight.data *= 2.0 / float(answers(model, seen(sizes[0]))["raw_keypoints"].std())
    return model, sizes


MODELS = {
    "ssd300_vgg16": ssd300_vgg16,
    "retinanet_resnet50_fpn": retinanet_resnet50_fpn,
    "fasterrcnn_resnet50_fpn": fasterrcnn_resnet50_fpn,
    "maskrcnn_resnet50_fpn": maskrcnn_resnet50_fpn,
    "maskrcnn_resnet50_fpn_v2": maskrcnn_resnet50_fpn_v2,
    "keypointrcnn_resnet50_fpn": keypointrcnn_resnet50_fpn,
}


def seen(size, count=2):
    """Images without plateaus of 0 or 255, where a pool has no single largest pixel."""
    return random_images(*size)[:count] // 2 + 64


def photographs(folder, size, first):
    """Two of a folder's JPEGs, from that number on: uint8 (2, H, W, 3)."""
    chosen = sorted(Path(folder).glob("*.jpg"))[first : first + 2]
    found = [Image.open(path).convert("RGB").resize(size[::-1], Image.BILINEAR) for path in chosen]
    return np.stack([np.asarray(one) for one in found])


def prepared(size):
    return ((torch.from_numpy(seen(size)).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def targets(height, width):
    """Boxes of the sizes of every level, the same number for each image: [(boxes (G, 4), classes (G,))]."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2):
        sides = np.array([0.07, 0.1, 0.2, 0.35, 0.6, 0.9])[:, None] * rng.uniform(0.9, 1.1, (6, 2))
        corners = rng.random((6, 2)) * (1 - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1) * [width, height, width, height]
        found.append((boxes.astype(np.float32), rng.integers(0, CLASSES, 6)))
    return found


def ellipses(boxes, height, width):
    """uint8 (G, H, W): an ellipse in each box, turned, so that the mask is neither whole nor symmetric."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    masks = []
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        x, y = (2 * columns - x1 - x2) / (x2 - x1), (2 * rows - y1 - y2) / (y2 - y1)
        u, v = x * np.cos(number) - y * np.sin(number), x * np.sin(number) + y * np.cos(number)
        inside = (np.abs(x) < 1) & (np.abs(y) < 1)
        masks.append((u**2 + (1.7 * v) ** 2 < 1) & inside)
    return np.stack(masks).astype(np.uint8)


def within(boxes):
    """float32 (G, K, 3): keypoints in and around each box; some are not labeled, some lie on the box's edge."""
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.1, 1.1, (len(boxes), KEYPOINTS, 2))
    points[:, 0] = 1  # the lower right corner
    marks = rng.integers(0, 3, (len(boxes), KEYPOINTS, 1))
    points = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
    return np.concatenate([points, marks], axis=-1).astype(np.float32)


def reference(name, folder, of_photographs=None):
    model, sizes = MODELS[name]()
    sizes = sizes if isinstance(sizes[0], tuple) else (sizes,)
    truth = targets(*sizes[0])
    torch.save(model.state_dict(), folder / f"{name}.pth")
    arrays = {"boxes": np.stack([b for b, _ in truth]), "classes": np.stack([c for _, c in truth])}
    others = () if name.startswith("keypoint") else ("b_",)  # a map of each box takes seconds
    for before, size in zip(("", *others), sizes, strict=False):
        arrays |= {f"{before}{key}": value for key, value in answers(model, seen(size)).items()}
    if of_photographs:
        # masks and keypoints in float64 take half a minute for each size
        several = PHOTOGRAPHS[:1] if name.startswith(("mask", "keypoint")) else PHOTOGRAPHS
        for i, size in enumerate(several if len(sizes) > 1 else sizes):
            # in float64: two programs in float32, each up to 6e-5 off it, would be compared with each other
            found = answers(copy.deepcopy(model).double(), photographs(of_photographs, size, 2 * i), torch.float64)
            arrays |= {f"photographs{i}_{key}": value for key, value in found.items()}

    model.train()
    if len(sizes) > 1:  # those on a pyramid are trained with their batch norms as they are
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    labels = [{"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c) + first_class(name)} for b, c in truth]
    if name.startswith("mask"):
        arrays["masks"] = np.stack([ellipses(b, *sizes[0]) for b, _ in truth])
        for label, masks in zip(labels, arrays["masks"], strict=True):
            label["masks"] = torch.from_numpy(masks)
    if name.startswith("keypoint"):
        arrays["keypoints"] = np.stack([within(b) for b, _ in truth])
        for label, points in zip(labels, arrays["keypoints"], strict=True):
            label["keypoints"] = torch.from_numpy(points)
    torch.randperm = lambda count, **_: torch.arange(count)
    unresized(model, arrays["images"])
    losses = model(tensors(arrays["images"]), labels)
    sum(losses.values()).backward()
    arrays |= {f"loss_{key}": value.detach().numpy() for key, value in losses.items()}
    for key, parameter in model.named_parameters():
        if key in WATCHED[name]:
            arrays[f"grad_{key}"] = parameter.grad.numpy()
    np.savez(folder / f"{name}.npz", **arrays)


def first_class(name):
    """RetinaNet alone has no column for the background."""
    return 0 if name.startswith("retinanet") else 1


def unresized(model, images):
    """An image of sides that 32 divides is then taken as it is."""
    if not isinstance(model, torchvision.models.detection.ssd.SSD):
        model.transform.min_size, model.transform.max_size = (min(images.shape[1:3]),), max(images.shape[1:3])


def tensors(images, dtype=torch.float32):
    return [torch.from_numpy(image).permute(2, 0, 1).to(dtype) / 255 for image in images]


def answers(model, images, dtype=torch.float32):
    """{key: array}: the images, raw outputs and final boxes."""
    raw, hooks = {}, []

    def watch(module, keep):
        hooks.append(module.register_forward_hook(lambda m, args, out: raw.update(keep(out))))

    if hasattr(model, "rpn"):
        rows = torchvision.models.detection.rpn.concat_box_prediction_layers

        def of_anchors(out):
            return {
                key: value.reshape(len(images), -1, value.shape[-1])
                for key, value in zip(("raw_objectness", "raw_differences"), rows(*out), strict=True)
            }

        watch(model.rpn.head, of_anchors)
        watch(model.rpn.anchor_generator, lambda out: {"anchors": out[0]})
        watch(model.rpn, lambda out: {f"proposals{i}": boxes for i, boxes in enumerate(out[0])})
        watch(model.roi_heads.box_predictor, lambda out: {"raw_cls_logits": out[0], "raw_bbox_regression": out[1]})
        if model.roi_heads.has_mask():
            watch(model.roi_heads.mask_predictor, lambda out: {"raw_masks": out})
        if model.roi_heads.has_keypoint():
            watch(model.roi_heads.keypoint_predictor, lambda out: {"raw_keypoints": out})
    else:
        watch(model.head, lambda out: {f"raw_{key}": value for key, value in out.items()})
        watch(model.anchor_generator, lambda out: {"anchors": out[0]})
    model.eval()
    unresized(model, images)
    with torch.no_grad():
        found = model(tensors(images, dtype))
    for hook in hooks:
        hook.remove()
    arrays = {"images": images, **{key: value.numpy() for key, value in raw.items()}}
    first = 0 if isinstance(model, torchvision.models.detection.RetinaNet) else 1
    for i, one in enumerate(found):
        arrays |= {f"final_boxes{i}": one["boxes"].numpy(), f"final_scores{i}": one["scores"].numpy()}
        arrays[f"final_classes{i}"] = one["labels"].numpy() - first
        if "masks" in one:
            arrays[f"final_masks{i}"] = one["masks"][:8, 0].numpy()  # whole images
        if "keypoints" in one:
            arrays |= {
                f"final_keypoints{i}": one["keypoints"].numpy(),
                f"final_logits{i}": one["keypoints_scores"].numpy(),
            }
    return arrays


WATCHED = {
    "ssd300_vgg16": (
        "backbone.extra.0.7.1.weight",
        "backbone.scale_weight",
        "backbone.extra.4.2.weight",
        "head.classification_head.module_list.1.bias",
        "head.regression_head.module_list.0.weight",
    ),
    "retinanet_resnet50_fpn": (
        "backbone.body.layer3.0.conv2.weight",
        "backbone.fpn.inner_blocks.0.0.weight",
        "backbone.fpn.extra_blocks.p6.weight",
        "head.classification_head.conv.0.0.weight",
        "head.regression_head.bbox_reg.bias",
    ),
    "fasterrcnn_resnet50_fpn": (
        "backbone.body.layer3.0.conv2.weight",
        "backbone.fpn.layer_blocks.1.0.weight",
        "rpn.head.conv.0.0.weight",
        "roi_heads.box_head.fc7.weight",
        "roi_heads.box_predictor.bbox_pred.bias",
    ),
    "maskrcnn_resnet50_fpn": (
        "backbone.body.layer3.0.conv2.weight",
        "backbone.fpn.layer_blocks.1.0.weight",
        "roi_heads.mask_head.0.0.weight",
        "roi_heads.mask_predictor.mask_fcn_logits.weight",
        "roi_heads.mask_predictor.mask_fcn_logits.bias",
    ),
    "maskrcnn_resnet50_fpn_v2": (
        "backbone.body.layer3.0.conv2.weight",
        "backbone.fpn.layer_blocks.1.0.weight",
        "rpn.head.conv.1.0.weight",
        "roi_heads.box_head.0.0.weight",
        "roi_heads.mask_head.0.0.weight",
    ),
    "keypointrcnn_resnet50_fpn": (
        "rpn.head.conv.0.0.weight",
        "roi_heads.box_head.fc7.weight",
        "roi_heads.keypoint_head.0.weight",
        "roi_heads.keypoint_head.12.weight",
        "roi_heads.keypoint_predictor.kps_score_lowres.weight",
    ),
}


def main():
    words = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
    folder, names = Path(sys.argv[1]), [word for word in sys.argv[2:] if "=" not in word] or list(MODELS)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        reference(name, folder, words.get("photographs"))
        print(name, flush=True)


if __name__ == "__main__":
    main()
