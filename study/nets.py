"""The nets of the study, of the sizes it published, as Keras models. Whoever changes this file trains anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

layers = keras.layers


def cifar_cnn() -> Any:
    """Return the convolutional net of 0.78 million parameters, for `(N, 32, 32, 3) float32`."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(332, activation="relu"),
            layers.Dense(10, activation="softmax", name="answer"),
        ],
        name="cifar_cnn",
    )


def digits_cnn(dense_percent: int) -> Any:
    """Return a net for `(N, 28, 28, 1) float32` of whose parameters about so many per cent lie in dense layers.

    The convolutions are always the same; the dense layers on top of them are as wide as it takes.
    """
    convolved = _convolved((32, 32, 64, 64), pooled=(True, True, False, True))
    wanted = convolved.count_params() * dense_percent / (100 - dense_percent)
    # d² + (features + 12) d + 10 parameters: two layers of d, and ten answers.
    half = (convolved.output_shape[-1] + 12) / 2
    return _with_dense(convolved, round((half**2 + wanted - 10) ** 0.5 - half), f"digits_cnn_{dense_percent}")


def wide_cnn() -> Any:
    """Return a net with twice the channels, half of its convolutions on the whole image."""
    return _with_dense(_convolved((64, 64, 128, 128), pooled=(False, True, False, True)), 180, "wide_cnn")


def _convolved(channels: Sequence[int], pooled: Sequence[bool]) -> Any:
    model = keras.Sequential([keras.Input((28, 28, 1), name="image")])
    for count, pool in zip(channels, pooled, strict=True):
        model.add(layers.Conv2D(count, 3, padding="same", activation="relu"))
        if pool:
            model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    return model


def _with_dense(convolved: Any, units: int, name: str) -> Any:
    dense = [
        layers.Dense(units, activation="relu"),
        layers.Dense(units, activation="relu"),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
    return keras.Sequential([keras.Input((28, 28, 1), name="image"), *convolved.layers, *dense], name=name)


def dense_share(model: Any) -> float:
    """Return the share of a model's parameters that lie in dense layers."""
    dense = sum(layer.count_params() for layer in model.layers if isinstance(layer, layers.Dense))
    return float(dense / model.count_params())
