"""Trains the example models anew: python examples/train.py (half a minute on two cores)."""

from __future__ import annotations

from pathlib import Path

import keras

from digits import load_digits

MODELS = Path(__file__).parent / "models"


def dnn() -> keras.Model:
    """Return the dense net of the 2021 study's size: 1,985,930 parameters."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Flatten(),
            layers.Dense(1024, activation="relu"),
            layers.Dense(1024, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="dnn",
    )


def cnn() -> keras.Model:
    """Return a small convolutional net: 431,242 parameters."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(256, activation="relu"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="cnn",
    )


def main() -> None:
    (x, y), test = load_digits()
    MODELS.mkdir(exist_ok=True)
    for make in (dnn, cnn):
        keras.utils.set_random_seed(2021)
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, epochs=8, batch_size=64, verbose=0)
        accuracy = model.evaluate(*test, verbose=0)[1]
        # A model that was never compiled: the file ships weights, not the optimizer's state.
        shipped = make()
        shipped.set_weights(model.get_weights())
        path = MODELS / f"{model.name}.keras"
        shipped.save(path)
        print(f"{path}: {model.count_params():,} parameters, accuracy {accuracy:.3f}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
