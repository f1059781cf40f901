"""Random small Keras models: what converters are given."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import strategies as st

_ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "softmax", "gelu")


@st.composite
def keras_models(draw: st.DrawFn, *, max_layers: int = 3) -> Any:
    """Draw a functional `keras.Model` with one input and one output, weights from a drawn seed.

    Dense nets with residual and normalized layers, and images through convolutions, depthwise ones included,
    and pooling. Layers that only act in training, Dropout and BatchNormalization, are among them.

    Args:
        draw: given by Hypothesis.
        max_layers: the most layers of the body.

    Raises:
        ImportError: Keras is not installed.
    """
    import keras

    seed = draw(st.integers(0, 2**16 - 1))
    # Keras seeds itself from Python's and NumPy's generators, which are the test's own.
    states = random.getstate(), np.random.get_state()
    try:
        keras.utils.set_random_seed(seed)
        return _model(draw, max_layers)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _model(draw: st.DrawFn, max_layers: int) -> Any:
    import keras

    image = draw(st.booleans())
    inputs = keras.Input((8, 8, draw(st.integers(1, 3))) if image else (draw(st.integers(1, 8)),), name="x")
    body = inputs
    for _ in range(draw(st.integers(0, max_layers))):
        body = _image_layer(draw, body) if image else _dense_layer(draw, body)
    if image:
        body = draw(st.sampled_from((keras.layers.Flatten, keras.layers.GlobalAveragePooling2D)))()(body)
    head = keras.layers.Dense(draw(st.integers(1, 5)), activation=draw(st.sampled_from(_ACTIVATIONS)), name="y")
    return keras.Model(inputs, head(body))


def _dense_layer(draw: st.DrawFn, body: Any) -> Any:
    from keras import layers

    kind = draw(st.sampled_from(("dense", "residual", "batch norm", "layer norm", "dropout")))
    if kind == "batch norm":
        return layers.BatchNormalization()(body)
    if kind == "layer norm":
        return layers.LayerNormalization()(body)
    if kind == "dropout":
        return layers.Dropout(0.5)(body)
    activation = draw(st.sampled_from(_ACTIVATIONS))
    if kind == "residual":
        return layers.Add()([body, layers.Dense(body.shape[-1], activation=activation)(body)])
    return layers.Dense(draw(st.integers(1, 16)), activation=activation, use_bias=draw(st.booleans()))(body)


def _image_layer(draw: st.DrawFn, body: Any) -> Any:
    from keras import layers

    kind = draw(st.sampled_from(("conv", "depthwise", "pool", "batch norm", "dropout")))
    if kind == "batch norm":
        return layers.BatchNormalization()(body)
    if kind == "dropout":
        return layers.Dropout(0.5)(body)
    if kind == "pool":
        pool = draw(st.sampled_from((layers.MaxPooling2D, layers.AveragePooling2D)))
        return pool(2, padding="same")(body)
    padding, activation = draw(st.sampled_from(("same", "valid"))), draw(st.sampled_from(_ACTIVATIONS))
    # A kernel that the image has no room for would be a mistake of the drawer's, not a find.
    kernel = draw(st.integers(1, 3 if padding == "same" else min(3, body.shape[1])))
    if kind == "depthwise":
        return layers.DepthwiseConv2D(kernel, padding=padding, activation=activation)(body)
    return layers.Conv2D(draw(st.integers(1, 6)), kernel, padding=padding, activation=activation)(body)
