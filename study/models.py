"""The models that the study compares, as the plugin is told of them, by name.

`dnn`, `dense-89` to `dense-70` and `wide` are trained on digits, `cnn-1` to `cnn-5` on CIFAR-10 with five seeds. Their INT8 variant is
quantized dynamically, as the study did; with `-static` behind the name statically, from calibration data.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from pytest_onnxlite import Dataset, DynamicInt8, ModelSpec, StaticInt8
from study.data import Images, Unavailable, load_cifar10, load_digits
from study.training import BARE_FILE, FILE, Plan, Progress, train

SEEDS = (1, 2, 3, 4, 5)
# What activations' ranges are found with: the first of the images that were trained with.
CALIBRATION = 256
STATIC = "-static"
# Intra-op threads of ONNX Runtime and of LiteRT, whatever is measured.
THREADS = 1

_DIGITS_EPOCHS, _CIFAR_EPOCHS, _CONVOLVED_EPOCHS = 8, 7, 1


def plan(name: str) -> Plan:
    """Return how the model of a name, without `-static`, is trained."""
    if name == "dnn":
        return Plan("dnn", 1, _DIGITS_EPOCHS)
    net, _, number = name.partition("-")
    return Plan("cnn", int(number), _CIFAR_EPOCHS) if net == "cnn" else Plan(name, 1, _CONVOLVED_EPOCHS)


class Catalogue:
    """The specs of the models, each trained when it is first asked for.

    Args:
        folder: where trained nets are kept.
        progress: is told what is being trained.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._specs: dict[str, ModelSpec] = {}

    @cached_property
    def _digits(self) -> Images:
        return load_digits()

    @cached_property
    def _cifar(self) -> Images | Unavailable:
        try:
            return load_cifar10()
        except Unavailable as reason:
            return reason  # so that a network that does not answer is waited for once

    def spec(self, name: str) -> ModelSpec:
        """Return a model's spec.

        Raises:
            Unavailable: its images cannot be had, or what trains and converts it.
            ValueError: the file of images that is named is not usable.
        """
        if name not in self._specs:
            self._specs[name] = self._make(name)
        return self._specs[name]

    def _make(self, name: str) -> ModelSpec:
        if find_spec("tensorflow") is None or find_spec("tf2onnx") is None:
            raise Unavailable(
                'the study trains and converts with TensorFlow and tf2onnx: pip install -e ".[dev,study]"'
            )
        net = name.removesuffix(STATIC)
        images = self._cifar if net.startswith("cnn") else self._digits
        if isinstance(images, Unavailable):
            raise images
        return ModelSpec(
            name,
            trained=train(plan(net), images, self._folder, self._progress) / FILE,
            evaluation=Dataset(images.x_test, images.y_test),
            calibration=images.x[:CALIBRATION],
            recipe=StaticInt8() if name.endswith(STATIC) else DynamicInt8(),
            threads=THREADS,
        )


def bare_size(spec: ModelSpec) -> int:
    """Return the bytes of a model's `.h5` without the optimizer's state."""
    return Path(spec.trained).with_name(BARE_FILE).stat().st_size
