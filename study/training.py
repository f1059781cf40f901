"""Trains the nets of the study, each once: what was trained is kept under a name made from what it was trained with."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pytest_onnxlite import Dataset
from study.data import Images

Progress = Callable[[str], None]

_LEARNING_RATE = 0.001

# As the study saved its models, and without what the optimizer keeps to go on training.
FILE, BARE_FILE = "trained.h5", "without_optimizer.h5"


@dataclass(frozen=True)
class Plan:
    """How a net is trained.

    Attributes:
        net: `dnn`, `cnn`, `wide` or `dense-<per cent>`.
        seed: of weights and order.
        epochs: how often it sees all images.
        batch_size: images in a step.
    """

    net: str
    seed: int
    epochs: int
    batch_size: int = 64


def train(plan: Plan, images: Images, cache: Path, progress: Progress) -> Path:
    """Return the folder with a trained net's files.

    Args:
        plan: which net, and how.
        images: what it is trained with.
        cache: where trained nets are kept.
        progress: is told what begins, and each epoch.
    """
    place = cache / f"{plan.net}-{plan.seed}-{_key(plan, images)}"
    if not (place / BARE_FILE).is_file():
        work = Path(tempfile.mkdtemp(prefix=".training-", dir=cache))
        try:
            _train(plan, images, work, progress)
            shutil.rmtree(place, ignore_errors=True)
            work.replace(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


def _key(plan: Plan, images: Images) -> str:
    content = {
        "plan": asdict(plan),
        "data": Dataset(images.x, images.y).sha256,
        "code": [hashlib.sha256(path.read_bytes()).hexdigest() for path in _sources()],
        "tools": {name: metadata.version(name) for name in ("keras", "tensorflow")},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _sources() -> list[Path]:
    here = Path(__file__).parent
    return [here / "nets.py", Path(__file__), here.parent / "examples" / "train.py"]


def _make(net: str) -> Any:
    from study import nets

    if net == "dnn":
        from train import dnn

        return dnn()
    if net == "wide":
        return nets.wide_cnn()
    return nets.cifar_cnn() if net == "cnn" else nets.digits_cnn(int(net.removeprefix("dense-")))


def _train(plan: Plan, images: Images, folder: Path, progress: Progress) -> None:
    import keras

    def report(epoch: int, logs: dict[str, float]) -> None:
        progress(f"  epoch {epoch + 1} of {plan.epochs}: accuracy {logs['accuracy']:.3f} on what it is trained with")

    progress(f"training {plan.net}, seed {plan.seed}, on {len(images.x):,} images")
    keras.utils.set_random_seed(plan.seed)
    model = _make(plan.net)
    # Falls to nothing, so that where training ends makes no difference of points from seed to seed.
    steps = plan.epochs * -(-len(images.x) // plan.batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(_LEARNING_RATE, steps, 0.0)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        images.x,
        images.y,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
    )
    model.save(folder / FILE)
    # Last: its presence says that all is there.
    model.save(folder / BARE_FILE, include_optimizer=False)
