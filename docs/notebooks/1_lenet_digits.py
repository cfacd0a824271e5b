# %% [markdown]
# # LeNet on digits: from the data to the mistakes
#
# LeNet-5 (LeCun et al. 1998) is the smallest network that has all parts of a modern one. It trains in a minute, so
# everything can be looked at: the data, the filters, the feature maps, the training, the mistakes, and what a
# prediction rests on.
#
# **To open this file:** VS Code and PyCharm run its cells as they are. For Jupyter: `pip install jupyter jupytext`,
# then `jupytext --to ipynb 1_lenet_digits.py`.
#
# **To run it:** `pip install -e ".[tensorflow]" scikit-learn` in a clone of visiontasks. Nothing is downloaded.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import visiontasks as vt

keras.utils.set_random_seed(0)  # the same weights in every run

# %% tags=["parameters"]
EPOCHS = 15  # passes over the training set

# %% [markdown]
# ## The data
#
# scikit-learn contains 1797 digits of 13 writers, 8×8 pixels each, enlarged here. For MNIST, 60,000 digits that are
# downloaded, write `data = {"train": {"source": "tfds", "dataset": "mnist"}, "val": {"source": "tfds", "dataset":
# "mnist", "split": "test"}}`.
#
# `load_data` gives two loaders. Each yields batches of fixed shapes. Only the training images are augmented: moved and
# rotated a little, because a digit stays the same digit.

# %%
data = {"train": {"source": "digits"}, "val": {"source": "digits", "split": "val"}}
move = {"Affine": {"translate_percent": [-0.08, 0.08], "rotate": [-10, 10], "fill": 255, "p": 0.8}}
train, val = vt.load_data(data, size=(32, 32), batch=32, augment=[move])
names = train.names["label"]

batch = next(iter(train))
print({field: (values.dtype, values.shape) for field, values in batch.items()})

# %% [markdown]
# **Look for:** digits that you would not read yourself. No network will read them better than the label says. Some
# digits lie off-center: that is the augmentation.

# %%
figure, axes = plt.subplots(2, 10, figsize=(10, 2.6), layout="constrained")
for ax, image, label in zip(axes.flat, batch["image"], batch["label"], strict=False):
    ax.imshow(image)
    ax.set_title(names[label])
    ax.axis("off")
plt.show()

# %% [markdown]
# ## The network
#
# A model is a backbone, which turns an image into feature maps, and a head, which solves a task with them. The head
# brings its loss along, so `compile` needs only the optimizer.

# %%
backbone = vt.backbone("lenet5", input_shape=(32, 32, 3))
model = vt.VisionModel(backbone, vt.heads.Classifier(names, pooling="flatten", hidden=(120, 84), activation="tanh"))
model.compile(keras.optimizers.AdamW(2e-3), metrics=["accuracy"])

print(f"{'layer':10} {'output':>14} {'parameters':>11} {'sees':>5}")
for layer in vt.layer_costs(backbone):
    print(f"{layer.name:10} {layer.shape!s:>14} {layer.parameters:11,} {layer.receptive_field:5}")
print(f"with the head: {model.count_params():,} parameters")

# %% [markdown]
# "Sees" is the receptive field: one number of `conv2` is computed from 14×14 pixels, about half of a digit. Most of the
# 61,706 parameters are in the dense layers of the head, not in the convolutions.
#
# ## Training
#
# The first filters are kept, to see later what training does to them.

# %%
filters_before = vt.explain.filters(backbone)
history = model.fit(train, validation_data=val, epochs=EPOCHS, verbose=2).history

# %% [markdown]
# **Look for:** where the validation curve goes flat, since more epochs will not help from there on; and for the gap
# between the curves. The network reads the digits it was trained on better than new ones, although those are shifted
# and rotated. If the validation loss rose while the training loss fell, it would be overfitting: learning the images,
# not the digits.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for ax, name in zip(axes, ("loss", "accuracy"), strict=True):
    ax.plot(history[name], label="training")
    ax.plot(history[f"val_{name}"], label="validation")
    ax.set(title=name, xlabel="epoch")
    ax.legend()
plt.show()

# %% [markdown]
# ## Filters
#
# The six filters of the first convolution, 5×5 each: blue is negative, red is positive, white is 0.
#
# **Look for:** a red side beside a blue side. Such a filter responds to an edge of this direction. Before the training
# (upper row) the weights are noise. Some filters hardly change: the layers after them can work with noise too.

# %%
filters = vt.explain.filters(backbone)
limit = np.abs(filters).max()
figure, axes = plt.subplots(2, 6, figsize=(10, 3.6), layout="constrained")
for row, kernels in zip(axes, (filters_before, filters), strict=True):
    for channel, ax in enumerate(row):
        ax.imshow(kernels[channel, ..., 0], cmap="bwr", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[], title=f"filter {channel}")
axes[0, 0].set_ylabel("before")
axes[1, 0].set_ylabel("after")
plt.show()

# %% [markdown]
# ## Feature maps
#
# What these filters make of one digit. `C0` is the first convolution, `C1` the second, `C2` its pooling.
#
# **Look for:** in `C0` you still see the digit, drawn by its edges. In `C2` you see only where a combination of strokes
# is. The network gives up "what it looks like" for "what it is".

# %%
images = np.concatenate([batch["image"] for batch in val])
labels = np.concatenate([batch["label"] for batch in val])
images, labels = images[labels >= 0], labels[labels >= 0]  # the last batch is filled up with black images, label -1

maps = vt.explain.feature_maps(backbone, images[3], count=6)
figure, axes = plt.subplots(len(maps), 7, figsize=(10, 4.6), layout="constrained")
for row, (level, (channels, values)) in zip(axes, maps.items(), strict=True):
    row[0].imshow(images[3])
    row[0].set_title("image")
    for ax, channel, one in zip(row[1:], channels, values, strict=True):
        ax.imshow(one)
        ax.set_title(f"{level}, channel {channel}")
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# What does a channel of the second convolution want to see? `patches` searches all images for the parts that excite a
# channel most. A part is exactly the receptive field: 14×14 pixels.
#
# **Look for:** what the patches of one row have in common: a corner, the end of a stroke, a bow that is open to one
# side. A row of white patches is a channel that is highest where there is nothing. A row without anything in common is
# a channel without a simple meaning. There are such channels in every network.

# %%
best = vt.explain.patches(backbone, images, "C1", channels=[0, 1, 2, 3], count=10)
figure, axes = plt.subplots(len(best), 10, figsize=(10, 4.4), layout="constrained")
for row, (channel, patches) in zip(axes, best.items(), strict=True):
    row[0].set_ylabel(f"channel {channel}")
    for ax, patch in zip(row, patches, strict=True):
        ax.imshow(patch.pixels)
        ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Mistakes
#
# The accuracy says how many predictions are wrong. The confusion matrix says which.

# %%
metrics = vt.score(model, val)
print({name: round(value, 3) for name, value in metrics.items() if "/" not in name})
scores = model.predict(images, verbose=0)["scores"]
predicted = scores.argmax(axis=1)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (labels, predicted), 1)

# %% [markdown]
# **Look for:** numbers off the diagonal. The row is the label, the column the prediction. A full row off the diagonal
# is a digit that is missed, a full column a class that is predicted too often.

# %%
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
ax.imshow(np.log1p(confusion), cmap="Blues")
for row in range(10):
    for column in range(10):
        if confusion[row, column]:
            ink = "white" if row == column else "black"
            ax.text(column, row, confusion[row, column], ha="center", va="center", color=ink)
ax.set(xlabel="prediction", ylabel="label", xticks=range(10), yticks=range(10))
plt.show()

# %% [markdown]
# The worst mistakes are those that the network is sure of.
#
# **Look for:** two kinds. Some digits you would misread too. Others are plain to you: there the network lacks examples
# of this way of writing. More data helps against the second kind only.

# %%
wrong = np.flatnonzero(predicted != labels)
wrong = wrong[np.argsort(-scores[wrong, predicted[wrong]])][:10]  # the surest first
figure, axes = plt.subplots(2, 5, figsize=(10, 4.6), layout="constrained")
for ax in axes.flat:
    ax.axis("off")
for ax, i in zip(axes.flat, wrong, strict=False):
    ax.imshow(images[i])
    ax.set_title(f"is {names[labels[i]]}, predicted {names[predicted[i]]} ({scores[i, predicted[i]]:.0%})")
plt.show()

# %% [markdown]
# ## Where the network looks
#
# Occlusion (Zeiler and Fergus 2014) hides a small square and measures how much the score falls. Where it falls much
# (yellow), the prediction is based on these pixels. The white line is the outline of the digit.
#
# The first two digits are read correctly, the others are the worst mistakes. For a mistake there are two questions:
# what speaks for the prediction, and what speaks for the label?
#
# **Look for:** yellow on a stroke: without it, it is another digit. Yellow on the white paper: the gray square is a
# stroke of its own, and with a stroke there it would be another digit. So "where the network looks" depends on what
# hides it. For a mistake, compare the last two columns: often the same pixels speak for both.

# %%
shown = [*np.flatnonzero(predicted == labels)[[0, 5]], *wrong[:2]]
figure, axes = plt.subplots(len(shown), 3, figsize=(6, 2 * len(shown)), layout="constrained", squeeze=False)
for row, i in zip(axes, shown, strict=True):
    row[0].imshow(images[i])
    row[0].set_title(f"is {names[labels[i]]}, predicted {names[predicted[i]]}")
    for ax, number in zip(row[1:], (predicted[i], labels[i]), strict=True):
        hidden = vt.explain.occlusion(model, images[i : i + 1], target=names[number], size=6, stride=2)[0]
        ax.imshow(np.maximum(hidden, 0))
        ax.contour(images[i][..., 0], levels=[128], colors="white", linewidths=0.8)
        ax.set_title(f"for {names[number]}")
    for ax in row:
        ax.axis("off")
plt.show()

# %% [markdown]
# A map always shows something, so it has to be checked. `faithfulness` takes the map's best pixels away and looks
# whether the score falls sooner than for a blob in the middle or for a random map.

# %%
some = images[shown]
maps = vt.explain.occlusion(model, some, size=6, stride=2)
for i, judged in zip(shown, vt.explain.faithfulness(vt.explain.Explained(model, some), maps), strict=True):
    verdict = "faithful" if judged.faithful else f"not faithful: {', '.join(judged.reasons)}"
    print(f"the {names[predicted[i]]}: {verdict}")

# %% [markdown]
# ## A mistake that no accuracy shows
#
# The validation digits are dark on white, as the training digits are. What if a user writes white on black?

# %%
inverted = 255 - images
right = model.predict(inverted, verbose=0)["scores"].argmax(axis=1) == labels
print(f"accuracy: {(predicted == labels).mean():.1%} dark on white, {right.mean():.1%} white on black")

# %% [markdown]
# The network did not learn digits. It learned dark digits on white. A validation set tells how good a network is on
# images like its own. Whether yours are like it, you have to look yourself.
#
# ## Try
#
# 1. Train without `augment`. Which curve becomes better, and is the network better?
# 2. Add `{"InvertImg": {"p": 0.5}}` to `augment`. What does the last cell say then?
# 3. Set `activation="relu"` in backbone and head.
# 4. Put your own digits into folders `0` to `9` and write `vt.load_data("my_digits", size=(32, 32))`.
