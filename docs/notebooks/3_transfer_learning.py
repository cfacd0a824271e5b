# %% [markdown]
# # Transfer learning, with and without
#
# About ten images of a class are too few to learn to see from. But a network that has seen a million photographs has
# useful filters already. This notebook trains the same network in four ways on the same sixty images: from random
# weights, as frozen features, fine-tuned with care, and fine-tuned without. Then it asks how many images each way
# needs.
#
# **To open this file:** VS Code and PyCharm run its cells as they are. For Jupyter: `pip install jupyter jupytext`,
# then `jupytext --to ipynb 3_transfer_learning.py`.
#
# **To run it:** `pip install -e ".[tensorflow]" scikit-learn` in a clone of visiontasks. Nothing is downloaded: the
# images are drawn, and the ImageNet weights of EfficientNet-Lite0 are installed with the package.

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

import visiontasks as vt

# %% tags=["parameters"]
IMAGES = 60  # to train with, of six classes
POOL = 360  # for the last question
VAL = 120  # to validate with
SIZE = 96  # height and width
EPOCHS = 6
BACKBONE = {"name": "efficientnet_lite0", "weights": "imagenet"}

# %% [markdown]
# ## The data
#
# One textured shape on a textured background: circle, square, triangle, star, cross or ring. ImageNet has no such
# classes and no such images. So this is a fair question: does it help to have seen dogs and cars?
#
# For photos of your own in class folders: `train, val = vt.load_data("my_photos", size=(224, 224), resize="crop")`.


# %%
def drawn(count, seed):
    """Images uint8 (N, H, W, 3) and labels (N,)."""
    part = {"source": "shapes", "count": count, "seed": seed, "size": (SIZE, SIZE), "objects": (1, 1)}
    loader, _ = vt.load_data({"train": part, "val": part}, size=(SIZE, SIZE), batch=1, fields=["label"])
    samples = list(loader.source)
    return np.stack([sample.image for sample in samples]), np.array([sample.label for sample in samples])


names = ("circle", "square", "triangle", "star", "cross", "ring")
pool_images, pool_labels = drawn(POOL, seed=0)
images, labels = pool_images[:IMAGES], pool_labels[:IMAGES]
val_images, val_labels = drawn(VAL, seed=1)
print({name: int((labels == number).sum()) for number, name in enumerate(names)})

# %% [markdown]
# **Look for:** what changes although the class stays: color, texture, size, place, angle, light. From ten images the
# network has to find out that none of these matters.

# %%
figure, axes = plt.subplots(3, 8, figsize=(10, 4.2), layout="constrained")
for ax, image, label in zip(axes.flat, images, labels, strict=False):
    ax.imshow(image)
    ax.set_title(names[label], fontsize=9)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## Four ways
#
# | way | start | what is trained | learning rate |
# | --- | --- | --- | --- |
# | from scratch | random | everything | 1e-3 |
# | frozen | ImageNet | the last layer | 1e-2 |
# | fine-tuned | ImageNet | the last layer, then everything | 1e-2, then 1e-3 |
# | too fast | ImageNet | everything, at once | 3e-2 |
#
# Why the last layer first? It starts from random weights, so its first gradients are large and mean nothing. They would
# go through the backbone and spoil what it knows. (Recipes do the same by `train.freeze`.)


# %%
def build(**changes):
    """A classifier with the weights of BACKBONE, or with others."""
    keras.utils.set_random_seed(0)
    backbone = vt.backbone(**{**BACKBONE, **changes}, input_shape=(SIZE, SIZE, 3))
    return vt.VisionModel(backbone, vt.heads.Classifier(names))


def train(model, rate, epochs, freeze):
    """Losses and accuracies after each epoch, of the training set and the validation set."""
    model.backbone.trainable = not freeze
    model.compile(keras.optimizers.AdamW(rate), metrics=["accuracy"])
    data = {"validation_data": (val_images, val_labels), "batch_size": 12, "validation_batch_size": 40, "verbose": 0}
    return model.fit(images, labels, epochs=epochs, **data).history


def joined(first, second):
    """Two histories, one after the other."""
    return {name: first[name] + second[name] for name in first}


first = max(1, EPOCHS // 3)
models, histories = {}, {}
for way in ("from scratch", "frozen", "fine-tuned", "too fast"):
    start = time.perf_counter()
    model = models[way] = build(weights=None) if way == "from scratch" else build()
    if way == "from scratch":
        histories[way] = train(model, 1e-3, EPOCHS, freeze=False)
    elif way == "frozen":
        histories[way] = train(model, 1e-2, EPOCHS, freeze=True)
    elif way == "fine-tuned":
        head_alone = train(model, 1e-2, first, freeze=True)
        histories[way] = joined(head_alone, train(model, 1e-3, EPOCHS - first, freeze=False))
    else:
        histories[way] = train(model, 3e-2, EPOCHS, freeze=False)
    accuracy = histories[way]["val_accuracy"][-1]
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    print(f"{way:13} {trained:10,} weights trained, {time.perf_counter() - start:4.0f} s, accuracy {accuracy:.1%}")

# %% [markdown]
# **Look for** (left): who reaches 100%. This curve alone says nothing: a network can overfit sixty images.
# **Look for** (right): where each way starts, how fast it rises, where it ends. The dashed line is guessing. With 120
# validation images, a difference of less than nine points may be chance.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", sharey=True)
for ax, name, title in zip(axes, ("accuracy", "val_accuracy"), ("training images", "validation images"), strict=True):
    for way, history in histories.items():
        ax.plot(range(1, EPOCHS + 1), history[name], marker=".", label=way)
    ax.axhline(1 / len(names), color="gray", linestyle="--")
    ax.set(title=title, xlabel="epoch", ylim=(0, 1.02))
axes[0].set_ylabel("accuracy")
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# - **From scratch** knows all training images, and is hardly better than guessing on others: millions of weights, sixty
#   images.
# - **Frozen** trains 7,686 weights. They can overfit less, and they cannot learn what the features lack.
# - **Fine-tuned** can learn it, but sixty images say little about it: it ends near frozen, or a few points above. The
#   dip of its training curve is where the backbone is set free. From there on, batch normalization uses the statistics
#   of twelve images instead of ImageNet's.
# - **Too fast** is the usual mistake. Steps this large destroy the ImageNet weights in the first epoch. What is left is
#   worse than training from scratch: it does not even fit the training images. If a fine-tuned network is worse than a
#   frozen one, look at the learning rate first.
#
# ## How many images does it take?
#
# A frozen backbone gives the same features in every epoch. So they need to be computed only once. Then the last layer
# is a logistic regression, which scikit-learn fits in a moment, for any number of images.

# %%
backbone = build().backbone
deepest = list(backbone.output)[-1]  # C5
pool_features, val_features = (
    backbone.predict(some, verbose=0)[deepest].mean(axis=(1, 2)) for some in (pool_images, val_images)
)
counts = [count for count in (12, 30, 60, 120, 240, 360) if count <= POOL]
accuracies = []
for count in counts:
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(pool_features[:count], pool_labels[:count])
    accuracies.append(fitted.score(val_features, val_labels))

# %% [markdown]
# **Look for:** what twice the images are worth, and whether the curve is flat yet. Then compare: is any of the four
# ways as far above the curve as the next point? More images are often worth more than a better method.

# %%
figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
ax.plot(counts, accuracies, marker="o", color="black", label="frozen features, logistic regression")
for way, history in histories.items():
    ax.scatter(IMAGES, history["val_accuracy"][-1], s=70, label=f"{way}, {IMAGES} images")
ax.axhline(1 / len(names), color="gray", linestyle="--")
ax.set(xscale="log", xlabel="training images", ylabel="validation accuracy", ylim=(0, 1.02))
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Mistakes
#
# The validation images on which the fine-tuned network is surest and wrong, each with a Grad-CAM of its prediction. The
# deepest level has 3×3 cells here, so the maps are coarse.
#
# **Look for:** the scores. After sixty images a network is sure of everything, so its score is no measure of how far to
# trust it. **Look for:** whether the map lies on the shape at all. A network that looks at the background has learned
# the wrong thing, even where its prediction is right.

# %%
model = models["fine-tuned"]
scores = model.predict(val_images, verbose=0)["scores"]
predicted = scores.argmax(axis=1)
wrong = np.flatnonzero(predicted != val_labels)
wrong = wrong[np.argsort(-scores[wrong, predicted[wrong]])][:6]
heat = vt.explain.grad_cam(model, val_images[wrong]) if len(wrong) else []
figure, axes = plt.subplots(2, 6, figsize=(11, 4.2), layout="constrained")
for column, i, one in zip(axes.T, wrong, heat, strict=False):
    column[0].imshow(val_images[i])
    title = f"is {names[val_labels[i]]},\npredicted {names[predicted[i]]} ({scores[i, predicted[i]]:.0%})"
    column[0].set_title(title, fontsize=9)
    column[1].imshow(val_images[i])
    column[1].imshow(one, cmap="inferno", alpha=0.6)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## What to do with your images
#
# 1. Start with frozen features. They take seconds, and show whether the labels can be learned at all.
# 2. Fine-tune with a small learning rate. `python -m visiontasks.train recipe=classify data=DIR` does it in two stages,
#    with augmentation.
# 3. From scratch pays if there are tens of thousands of images, or if they are unlike photos.
#
# ## Try
#
# 1. Set `IMAGES = 360`. Which ways gain most?
# 2. Give "fine-tuned" the rates 1e-4 and 5e-3. Where does it become "too fast"?
# 3. Use the features of `C3` instead of `C5` in the logistic regression. Edges and textures, or parts: what does this
#    task need?
