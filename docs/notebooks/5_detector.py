# %% [markdown]
# # A detector, explained
#
# How does a network that gives thousands of numbers come to give a list of boxes? This notebook opens a RetinaNet (Lin
# et al. 2017): anchors and their targets, the loss terms, non-maximum suppression step by step, the precision-recall
# curve and its average precision, what one box rests on, and the mistakes.
#
# **To open this file:** VS Code and PyCharm run its cells as they are. For Jupyter: `pip install jupyter jupytext`,
# then `jupytext --to ipynb 5_detector.py`.
#
# **To run it:** `pip install -e ".[tensorflow]"` in a clone of visiontasks. Nothing is downloaded: the scenes are
# drawn, and the ImageNet weights of EfficientNet-Lite0 are installed with the package.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import visiontasks as vt

keras.utils.set_random_seed(0)

# %% tags=["parameters"]
TRAIN = 400  # scenes to train with
VAL = 64  # scenes to validate with
SIZE = 128  # height and width
EPOCHS = 4
BACKBONE = {"name": "efficientnet_lite0", "weights": "imagenet"}

# %% [markdown]
# ## The data
#
# Scenes of drawn figures. There is one class, person. A box is x1, y1, x2, y2 in pixels.

# %%
scenes = {"source": "shapes", "scene": "figures", "size": (SIZE, SIZE), "objects": (1, 3)}
data = {"train": {**scenes, "count": TRAIN}, "val": {**scenes, "count": VAL, "seed": 1}}
flip = {"HorizontalFlip": {"p": 0.5}}
train, val = vt.load_data(data, size=(SIZE, SIZE), batch=8, fields=["boxes", "classes"], augment=[flip])

samples = list(val.source)
images = np.stack([sample.image for sample in samples])


def draw(ax, image, boxes, color="lime", width=1.5, title="", texts=()):
    """An image with boxes."""
    ax.imshow(image)
    for x1, y1, x2, y2 in boxes:
        ax.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, linewidth=width))
    for text, (x1, y1, _, _) in zip(texts, boxes, strict=False):
        ax.text(x1, y1, text, color="black", backgroundcolor=color, fontsize=7, va="bottom")
    ax.set(title=title, xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    ax.axis("off")


# %% [markdown]
# **Look for:** boxes that overlap. Two figures side by side are the hard case of this notebook.

# %%
figure, axes = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
for ax, sample in zip(axes.flat, samples, strict=False):
    draw(ax, sample.image, sample.boxes)
plt.show()

# %% [markdown]
# ## Anchors
#
# The network does not say "there is a box". It has fixed boxes, the anchors, at every cell of five feature maps, and
# for each anchor it says two things: which class it shows, and how the anchor has to be moved and stretched. The raw
# outputs have a row for each anchor.

# %%
backbone = vt.backbone(**BACKBONE, input_shape=(SIZE, SIZE, 3))
head = vt.heads.RetinaNet(
    train.names["classes"], filters=64, convs=2, anchor_scale=3.0,
    score_threshold=0.001, detections=100,  # average precision counts unsure boxes too, at most 100 an image
)  # fmt: skip
backbone.trainable = False  # so that a minute is enough; the rest of the network learns
model = vt.VisionModel(backbone, head)

levels = [keras.ops.convert_to_numpy(level[0]) for level in model(images[:1])["anchors"]]  # each (anchors, 4)
anchors = np.concatenate(levels)
print(f"{len(anchors)} anchors:", [len(level) for level in levels], "from the finest level to the coarsest")

# %% [markdown]
# **Look for:** the dots, which are the cells of the finest level: anchors are everywhere, whatever the image shows.
# Each level has its own sizes, so together they cover small and large objects. The nine anchors of a cell have three
# shapes and three sizes.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
cells = (levels[0][::9, :2] + levels[0][::9, 2:]) / 2
draw(axes[0], images[0], [], title=f"level 0: {len(cells)} cells")
axes[0].scatter(*cells.T, s=4, color="orange")
for ax, number in zip(axes[1:], range(3), strict=True):
    rows = round((len(levels[number]) // 9) ** 0.5)
    cell = 9 * (rows * (rows // 2) + rows // 2)  # the one in the middle
    draw(ax, images[0], levels[number][cell : cell + 9], "orange", 1, f"one cell of level {number}")
plt.show()

# %% [markdown]
# ## Target assignment: who learns what
#
# Before a loss can be computed, each anchor needs a target. RetinaNet decides by overlap (IoU, intersection over
# union):
#
# - an anchor with IoU 0.5 or more with an object is **positive**: it learns this object's class and box;
# - below 0.4 it is **background**;
# - between the two it is **ignored**: it learns nothing;
# - an object's best anchor is positive in any case, so that no object is left without one.
#
# This is the whole rule, in NumPy.


# %%
def iou(boxes, others):
    """The IoU of each box (N, 4) with each of the others (M, 4): (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(some[:, 2:] - some[:, :2], axis=-1) for some in (boxes, others)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def assign(boxes):
    """For each anchor the number of its object, -1 for background, -2 for ignored."""
    overlaps = iou(boxes, anchors)
    most, nearest = overlaps.max(axis=0), overlaps.argmax(axis=0)
    targets = np.where(most >= head.overlap, nearest, np.where(most < head.background, -1, -2))
    best = (overlaps == overlaps.max(axis=1, keepdims=True)).any(axis=0)
    return np.where(best, nearest, targets)


targets = [assign(sample.boxes) for sample in samples]
counts = [sum((some == number).sum() for some in targets) for number in (-1, -2)]
positive = sum((some >= 0).sum() for some in targets)
print(f"per image: {positive / VAL:.1f} positive, {counts[1] / VAL:.1f} ignored, {counts[0] / VAL:.0f} background")

# %% [markdown]
# **Look for:** an object has several positive anchors (green), so several will find it; that is why suppression is
# needed later. Objects whose shape no anchor has get one or two positives only, by the last rule. They learn slowest.

# %%
figure, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
for column, sample, some in zip(axes.T, samples, targets, strict=False):
    draw(column[0], sample.image, anchors[some == -2], "orange", 0.6, f"{(some == -2).sum()} ignored")
    draw(column[1], sample.image, anchors[some >= 0], "lime", 0.8, f"{(some >= 0).sum()} positive")
    for ax in column:
        draw(ax, sample.image, sample.boxes, "white", 2, ax.get_title())
plt.show()

# %% [markdown]
# ## The loss terms
#
# `localization` is the distance between the predicted and the needed move of an anchor. Only positive anchors have one.
#
# `classification` has a difficulty: hundreds of background anchors for a positive one. Almost all are easy, but the sum
# of their small losses is larger than the loss of the few that matter. The focal loss multiplies the cross-entropy by
# (1 - p)², where p is the probability of the target. What is easy counts almost nothing.

# %%
p = np.linspace(0.01, 1, 100)
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(p, -np.log(p), label="cross-entropy")
ax.plot(p, -((1 - p) ** 2) * np.log(p), label="focal loss")
ax.set(xlabel="probability of the target", ylabel="loss")
ax.legend()
plt.show()

# %%
rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(train))
model.compile(keras.optimizers.AdamW(rate))
history = model.fit(train, epochs=EPOCHS, verbose=2).history

# %% [markdown]
# **Look for** (left): which term stays high. With a frozen backbone and a minute of training, figures are detected
# sooner than their boxes are exact. **Look for** (right): the trained network. By cross-entropy, most of the loss would
# still be background that is recognized already. By focal loss, the positive anchors weigh most.

# %%
raw = [model(images[start : start + 16]) for start in range(0, VAL, 16)]
logits = np.concatenate([np.concatenate([keras.ops.convert_to_numpy(x) for x in some["classes"]], 1) for some in raw])
score = 1 / (1 + np.exp(-logits[..., 0]))  # of the only class, (images, anchors)
kinds = np.stack(targets)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for term in ("classification_loss", "localization_loss"):
    axes[0].plot(range(1, EPOCHS + 1), history[term], marker=".", label=term)
axes[0].set(xlabel="epoch", ylim=(0, None))
axes[0].legend()
for position, power in enumerate((0, 2)):  # of cross-entropy, of the focal loss
    p = np.where(kinds >= 0, score, 1 - score).clip(1e-7)
    loss = -((1 - p) ** power) * np.log(p)
    weights = {"positive": head.alpha, "background": 1 - head.alpha} if power else {"positive": 1, "background": 1}
    sums = np.array([weights["positive"] * loss[kinds >= 0].sum(), weights["background"] * loss[kinds == -1].sum()])
    share = sums[0] / sums.sum()
    axes[1].bar(position, share, color="C2")
    axes[1].bar(position, 1 - share, bottom=share, color="C7")
axes[1].set(xticks=[0, 1], xticklabels=["cross-entropy", "focal loss"], ylabel="share of the loss")
axes[1].legend(["positive anchors", "background"], loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Non-maximum suppression, step by step
#
# Many anchors find the same object. Suppression takes the box with the highest score, removes all that overlap it by
# more than a threshold, takes the next best, and so on.

# %%
crowded = int(np.argmax([len(sample.boxes) for sample in samples]))
boxes, scores, _ = (keras.ops.convert_to_numpy(x)[0] for x in head.scored(model(images[crowded : crowded + 1])))
order = np.argsort(-scores)[:40]
boxes, scores = boxes[order], scores[order]


def suppress(boxes, threshold):
    """The numbers of the boxes that are kept, and of those that are left after each step; best first."""
    kept, left, steps = [], np.arange(len(boxes)), []
    while len(left):
        best, *others = left
        kept.append(best)
        left = np.array([i for i in others if iou(boxes[[best]], boxes[[i]])[0, 0] <= threshold], int)
        steps.append(left)
    return kept, steps


kept, steps = suppress(boxes, head.iou_threshold)
print(f"the {len(boxes)} best boxes, of which {len(kept)} are kept; {len(samples[crowded].boxes)} objects")

# %% [markdown]
# **Look for:** green boxes are kept, orange ones are still waiting. One step removes a whole bundle.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
draw(axes[0], images[crowded], boxes, "orange", 0.7, f"the {len(boxes)} best boxes")
for ax in axes[1:]:
    ax.axis("off")
for number, (ax, left) in enumerate(zip(axes[1:], steps, strict=False), start=1):
    draw(ax, images[crowded], boxes[left], "orange", 0.7)
    texts = [f"{scores[i]:.2f}" for i in kept[:number]]
    draw(ax, images[crowded], boxes[kept[:number]], "lime", 2, f"step {number}: {len(left)} left", texts)
plt.show()

# %% [markdown]
# What if the threshold is wrong?
#
# **Look for:** with 0.1, a figure that touches another is lost. With 0.9, one figure has several boxes. There is no
# threshold that is right for every image. This is a limit of the method.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
draw(axes[0], images[crowded], samples[crowded].boxes, "white", 2, "ground truth")
for ax, threshold in zip(axes[1:], (0.1, 0.5, 0.9), strict=True):
    chosen, _ = suppress(boxes, threshold)
    draw(ax, images[crowded], boxes[chosen], "lime", 1.5, f"threshold {threshold}: {len(chosen)} boxes")
plt.show()

# %% [markdown]
# ## From detections to average precision
#
# A detection is right (a true positive) if it overlaps an object by 0.5 or more that no better detection has. Sorted by
# score over all images, each detection gives a point: precision is the share of right ones so far, recall the share of
# objects detected so far.

# %%
predictions = model.predict(images, verbose=0)
rows = []  # (score, whether it is right, image, box, largest overlap with any object)
for i, sample in enumerate(samples):
    valid, free = predictions["valid"][i], np.ones(len(sample.boxes), bool)
    for box, value in zip(predictions["boxes"][i][valid], predictions["scores"][i][valid], strict=True):  # best first
        overlaps = iou(box[None], sample.boxes)[0]
        best = int(np.argmax(np.where(free, overlaps, -1)))
        right = bool(free[best] and overlaps[best] >= 0.5)
        free[best] &= not right
        rows.append((value, right, i, box, overlaps.max()))
rows.sort(key=lambda row: -row[0])
right = np.array([row[1] for row in rows], bool)
precision = np.cumsum(right) / np.arange(1, len(right) + 1)
recall = np.cumsum(right) / sum(len(sample.boxes) for sample in samples)

# %% [markdown]
# Average precision is the area below the curve. COCO makes the curve fall only (the best precision at this recall or
# beyond) and takes its mean at 101 recalls. The same number comes from the package's metric, which is COCO's own.

# %%
falling = np.maximum.accumulate(precision[::-1])[::-1]
ranks = np.searchsorted(recall, np.linspace(0, 1, 101))
ap50 = np.mean([falling[rank] if rank < len(falling) else 0 for rank in ranks])
metrics = vt.score(model, val)
print(f"AP at IoU 0.5: {ap50:.3f} by hand, {metrics['ap50']:.3f} by COCO's program")
print(f"AP at IoU 0.75: {metrics['ap75']:.3f}, mean of IoU 0.50 to 0.95: {metrics['ap']:.3f}")

# %% [markdown]
# **Look for:** where the curve ends: objects that are not detected at any score. And where it falls: from there on,
# more recall costs many wrong boxes. One network can be many detectors, one for each score threshold. AP scores all of
# them at once; the dot is the one with the best F1, the harmonic mean of precision and recall. AP at 0.75 is lower,
# because boxes must fit better.

# %%
figure, ax = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
ax.plot(recall, precision, color="C7", label="precision")
ax.fill_between(recall, falling, alpha=0.2, step="pre", label=f"area: AP {ap50:.2f}")
threshold = metrics["f1_threshold"]
last = sum(row[0] >= threshold for row in rows) - 1
ax.scatter(recall[last], precision[last], color="C3", zorder=3, label=f"score {threshold:.2f}")
ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.05))
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# ## What one box rests on
#
# Grad-CAM and occlusion of the two best detections. Both explain the class score of the anchor that gave this box.
#
# **Look for:** whether the bright pixels lie in the box. Grad-CAM (first row) lights other figures too, a little,
# because the channels that it weights respond to any figure. Occlusion (last row) asks about this box alone: where it
# is bright, the score falls without these pixels. If that were beside the figure, the network would use the
# surroundings. The titles say which maps hold the test.

# %%
best = [row for row in rows if row[1]][:2] or rows[:2]
shown = images[[row[2] for row in best]]
chosen = np.stack([row[3] for row in best])
maps = {
    "Grad-CAM": vt.explain.grad_cam(model, shown, box=chosen),
    "occlusion": vt.explain.occlusion(model, shown, box=chosen, size=SIZE // 6),
}
explained = vt.explain.Explained(model, shown, box=chosen)
figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.6), layout="constrained")
for row, (name, heat) in zip(axes, maps.items(), strict=True):
    judged = vt.explain.faithfulness(explained, heat)
    for ax, image, box, one, judgment in zip(row, shown, chosen, heat, judged, strict=False):
        draw(ax, image, [box], "lime", 1.5, name if judgment.faithful else f"not faithful: {name}")
        ax.imshow(np.maximum(one, 0), cmap="inferno", alpha=0.6)
plt.show()

# %% [markdown]
# ## Mistakes
#
# Four kinds, among the boxes above the score threshold with the best F1:
#
# - **badly placed**: on an object, but with an IoU below 0.5;
# - **double**: on an object that another box has already;
# - **nothing there**: on background;
# - **missed**: an object without a box.
#
# **Look for:** which kind is most frequent, because each has its own remedy. Badly placed: more training, or a higher
# resolution. Double: a lower suppression threshold. Nothing there: more images of what is mistaken. Missed: look at the
# size and shape first, then at the anchors.

# %%
kinds = {"badly placed": [], "double": [], "nothing there": [], "missed": []}
for value, good, i, box, overlap in rows:
    if not good and value >= threshold:
        kind = "double" if overlap >= 0.5 else "badly placed" if overlap >= 0.1 else "nothing there"
        kinds[kind].append((i, box, f"{value:.2f}"))
for i, sample in enumerate(samples):
    kept = [row[3] for row in rows if row[2] == i and row[0] >= threshold]
    reached = iou(sample.boxes, np.reshape(kept, (-1, 4))).max(axis=1, initial=0)
    kinds["missed"] += [(i, box, "") for box in sample.boxes[reached < 0.5]]
print({kind: len(some) for kind, some in kinds.items()})

figure, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
for column, (kind, some) in zip(axes.T, kinds.items(), strict=True):
    column[0].set_title(f"{kind}: {len(some)}")
    for ax in column:
        ax.axis("off")
    for ax, (i, box, text) in zip(column, some, strict=False):
        draw(ax, images[i], samples[i].boxes, "white", 1)
        draw(ax, images[i], [box], "red", 2, ax.get_title(), [text] if text else ())
        ax.set_title(f"{kind}: {len(some)}" if ax is column[0] else "")
plt.show()

# %% [markdown]
# ## Your own images
#
# `vt.load_data("DIR", size=(320, 320), resize="letterbox")` reads COCO, PASCAL VOC, YOLO and tables of boxes. `python
# -m visiontasks.train recipe=yolo_det data=DIR` trains a stronger detector and draws its mistakes as above.
#
# ## Try
#
# 1. `anchor_scale=1.5`, then `6`. How many objects have only one positive anchor?
# 2. `assignment="adaptive"` (Zhang et al. 2020) gives each object its own threshold.
# 3. `vt.heads.YOLO` has no anchors. Its targets depend on what the network predicts. Why can they not be drawn before
#    the training?
# 4. Train twice as long. Which of the four mistakes becomes rare first?
