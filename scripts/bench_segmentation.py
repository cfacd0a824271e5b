"""Segmentation heads trained for equal processor time on one data set: updates and IoU.

    python scripts/bench_segmentation.py DIR [SECONDS [HEAD …]]

SECONDS of processor time (default 90), counted from the third update, so that what is compiled does not count; the
learning rate follows a cosine over them. Heads: unet (with the arguments of recipe unet_seg), fcn, deconvnet.
EfficientNet-Lite0 with ImageNet weights, 128×128, batch 8, horizontal flips, AdamW, cross entropy and Dice.
"""

import math
import sys
import time

import keras

import visiontasks as vt

RATE, SIZE = 2e-3, (128, 128)
ARGUMENTS = {"unet": {"filters": [128, 64, 32, 16, 8], "upsampling": "resize"}, "fcn": {}, "deconvnet": {}}


class Budget(keras.callbacks.Callback):
    """Ends a training when its processor time is spent, and lowers the learning rate on the way."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.updates, self.start = seconds, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1
        if self.updates == 3:
            self.start = time.process_time()
        if self.start is not None:
            share = (time.process_time() - self.start) / self.seconds
            self.model.optimizer.learning_rate = RATE * max(0.01, (1 + math.cos(math.pi * min(1.0, share))) / 2)
            self.model.stop_training = share > 1


def measure(folder, seconds, name):
    keras.utils.set_random_seed(0)
    flips = [{"HorizontalFlip": {"p": 0.5}}]
    train, val = vt.load_data(folder, size=SIZE, batch=8, workers=1, fields=["mask"], augment=flips)
    backbone = vt.backbone("efficientnet_lite0", weights="imagenet", input_shape=(*SIZE, 3))
    heads = {"unet": vt.heads.UNet, "fcn": vt.heads.FCN, "deconvnet": vt.heads.DeconvNet}
    head = heads[name](train.names["mask"], loss={"cross_entropy": 1.0, "dice": 1.0}, **ARGUMENTS[name])
    model, budget = vt.VisionModel(backbone, head), Budget(seconds)
    model.compile(keras.optimizers.AdamW(RATE, weight_decay=1e-4))
    while not model.stop_training:
        model.fit(train, verbose=0, callbacks=[budget])
    scores = vt.score(model, val)
    ious = {key: round(float(value), 4) for key, value in scores.items() if "iou" in key}
    print(f"{name}: {head.count_params():,} parameters, {budget.updates} updates, {ious}", flush=True)


def main():
    folder, *rest = sys.argv[1:]
    seconds, names = float(rest[0]) if rest else 90.0, rest[1:] or list(ARGUMENTS)
    for name in names:
        measure(folder, seconds, name)


if __name__ == "__main__":
    main()
