"""What scenarios feed a model with, and what is told where they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_onnxlite import Dataset, ModelSpec, OnnxliteError, Scenario
from pytest_onnxlite.declared.models import read
from pytest_onnxlite.guard.identity import is_same
from pytest_onnxlite.registry import Registry
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.samples import describe_scenarios, make_up_scenarios
from pytest_onnxlite.settings import UsageMistake
from pytest_onnxlite.variants.scenario_inputs import inputs_of

TEXT = (TensorInfo("ids", "int64", ("batch", "length")), TensorInfo("mask", "int64", ("batch", "length")))
IDS = np.arange(12, dtype=np.int64).reshape(3, 4)


def info(*dims: int | str) -> tuple[TensorInfo, ...]:
    return (TensorInfo("x", "float32", dims),)


def fed(scenario: Scenario, samples: Any, infos: Any, batch_size: int = 1, batched: bool = True) -> Any:
    return inputs_of(scenario, samples, infos, batch_size, batched=batched)


def test_samples_are_repeated_or_cut_to_a_length() -> None:
    found = fed(Scenario(length=6), {"ids": IDS, "mask": np.ones_like(IDS)}, TEXT, batch_size=2)
    assert found["ids"].tolist() == [[0, 1, 2, 3, 0, 1], [4, 5, 6, 7, 4, 5]]
    assert found["mask"].shape == (2, 6)
    assert fed(Scenario(length=2), IDS, TEXT[:1]).tolist() == [[0, 1]]


def test_a_batch_that_is_larger_than_the_data_repeats_samples() -> None:
    assert fed(Scenario(batch_size=5), IDS, TEXT[:1], batch_size=5)[:, 0].tolist() == [0, 4, 8, 0, 4]
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(3, np.float32), np.zeros(5, np.float32)]
    assert fed(Scenario(length=4), ragged, info("batch", "n"), batch_size=3).tolist() == [[1] * 4, [0] * 4, [1] * 4]


def test_without_a_batch_dimension_the_first_axis_may_be_the_open_one() -> None:
    x = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    assert fed(Scenario(length=4), x, info("length", 2), batched=False).tolist() == [[[0, 1], [2, 3], [4, 5], [0, 1]]]


def test_axes_of_one_name_have_one_length_and_a_model_frozen_at_it_takes_it() -> None:
    square = np.ones((1, 3, 3), np.float32)
    assert fed(Scenario(length=5), square, info("batch", "length", "length")).shape == (1, 5, 5)
    assert fed(Scenario(length=3), square, info("batch", 3, 8)).shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("scenario", "infos", "batch_size", "said"),
    [
        (
            Scenario(length=16),
            info("batch", 8, 4),
            1,
            "input 'x' is frozen at 8 in axis 1, 4 in axis 2, and length 16 was asked for. Export the model with a dynamic axis",
        ),
        (Scenario(length=16), info("batch"), 1, "its inputs have no axis but the first, and length 16 was asked for"),
        (
            Scenario(batch_size=2),
            info(1, "length"),
            2,
            "input 'x' is frozen at 1 in axis 0, and batch size 2 was asked for. Export the model with a dynamic first dim",
        ),
        (
            Scenario(length=16),
            info("batch", "height", "?"),
            1,
            "input 'x' leaves several axes open (axis 1 (height), axis 2), and length 16 does not say which is meant",
        ),
    ],
)
def test_what_a_model_cannot_take_is_told_by_input_axis_and_what_was_asked(
    scenario: Scenario, infos: Any, batch_size: int, said: str
) -> None:
    with pytest.raises(OnnxliteError) as caught:
        fed(scenario, np.ones((2, 8, 4), np.float32), infos, batch_size)
    assert said in str(caught.value)


def spec(**arguments: Any) -> ModelSpec:
    return ModelSpec("net", trained=lambda x: x, **arguments)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scenario(), "Scenario() says nothing: give length=, batch_size= or inputs=."),
        (lambda: Scenario(length=0), "Scenario(length=0): expected a whole number from 1."),
        (lambda: Scenario(batch_size=True), "Scenario(batch_size=True): expected a whole number from 1."),
        (lambda: Scenario(length=2, inputs=IDS), "inputs have their own length"),
        (lambda: spec(scenarios=[Scenario(length=2)]), "expected Scenario(...) by name"),
        (lambda: spec(scenarios={"a b": Scenario(length=2)}), "a scenario is called 'a b'; expected 1 to 64 letters"),
        (lambda: spec(scenarios={"a": 512}), "the scenario 'a' is a int; expected Scenario(length=...)"),
        (lambda: spec(scenarios={"a": Scenario(inputs=np.zeros((0, 2)))}), "the scenario 'a': inputs holds no samples"),
        (
            lambda: spec(batched=False, scenarios={"a": Scenario(batch_size=2)}),
            "batched=False is a model that takes one sample, and the scenario 'a' asks for batch size 2",
        ),
        (lambda: spec().scenario("long"), "there is no scenario 'long': the model names none (scenarios=)."),
    ],
)
def test_a_scenario_that_is_none_is_told(make: Any, said: str) -> None:
    with pytest.raises(OnnxliteError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("scenarios", "said"),
    [
        ("{short = {lenght = 2}}", "scenarios.short: unknown key 'lenght'; did you mean length?"),
        ("{short = {length = '2'}}", "scenarios.short: Scenario(length='2'): expected a whole number from 1"),
        ("3", "scenarios=3; expected tables by name"),
    ],
)
def test_a_declared_scenario_that_is_none_is_told(tmp_path: Path, scenarios: str, said: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f'[tool.onnxlite.models.net]\nonnx = "a.onnx"\nlatency = {{}}\nscenarios = {scenarios}\n')
    with pytest.raises(UsageMistake) as caught:
        read(path, Registry.load())
    assert said in str(caught.value)


def test_two_specs_differ_by_their_scenarios_and_a_bundle_knows_what_they_look_like() -> None:
    def of(**scenarios: Scenario) -> ModelSpec:
        return ModelSpec("net", onnx=__file__, evaluation=Dataset(IDS), scenarios=scenarios)

    assert is_same(of(a=Scenario(length=2)), of(a=Scenario(length=2)))
    assert not is_same(of(a=Scenario(length=2)), of(a=Scenario(length=3)))
    assert is_same(of(a=Scenario(inputs=IDS)), of(a=Scenario(inputs=IDS.copy())))
    assert not is_same(of(a=Scenario(inputs=IDS)), of(a=Scenario(inputs=IDS + 1)))
    like = describe_scenarios(of(a=Scenario(inputs=IDS, batch_size=4), b=Scenario(length=9)), ["a", "b", ""])
    made = make_up_scenarios(like, 2, 0)
    assert made["a"].inputs.shape == (4, 4)
    assert (made["b"].length, made["b"].inputs) == (9, None)
