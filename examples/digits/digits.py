"""What the notebooks of this example share: reading the images, and drawing them."""

import math

import matplotlib.pyplot as plt
import pandas as pd


def read(path):
    """Return the images, one row of 64 grey values (0-16) each, and the digits they show."""
    table = pd.read_csv(path)
    labels = table.pop("digit")
    if table.shape[1] != 64 or table.min().min() < 0 or table.max().max() > 16:
        raise ValueError(f"{path} does not hold 8 × 8 images with grey values from 0 to 16")
    return table.to_numpy(), labels


def draw(images, titles, columns=10):
    """Draw images side by side, each under its title."""
    rows = max(1, math.ceil(len(images) / columns))
    figure, axes = plt.subplots(rows, columns, figsize=(columns, 1.3 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles):
        axis.imshow(image.reshape(8, 8), cmap="gray_r")
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
