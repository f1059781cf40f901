"""How much of a graph runs where it is asked to: red below the limit, with the nodes that fell back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pytest_onnxlite.baseline.record import Artefact, Baseline
from pytest_onnxlite.checks.placement import CHECK
from pytest_onnxlite.checks.placement.judge import judge_placement
from pytest_onnxlite.checks.placement.limit import PlacementLimit
from pytest_onnxlite.checks.placement.measurement import Placed, PlacementSection, placed_from
from pytest_onnxlite.checks.reference import Absent
from pytest_onnxlite.checks.verdict import BASELINE, LIMIT, Outcome
from pytest_onnxlite.runtime.placements import NoRecord, placements
from pytest_onnxlite.spec.runtimes import Runtime

from onnx_models import save_graph

ON_CPU = Runtime()
OPENVINO, CPU = "OpenVINOExecutionProvider", "CPUExecutionProvider"
NONE = Absent(Outcome.NOT_COMPARED, "baselines are not looked at")
MIXED = placed_from((OPENVINO,), {OPENVINO: [("a", "MatMul"), ("b", "Relu"), ("c", "Softmax")], CPU: [("u", "Unique")]})


@pytest.mark.parametrize(
    ("found", "min_share", "outcome", "figure"),
    [
        (MIXED, 1.0, Outcome.FAIL, "3 of 4 nodes on OpenVINO"),
        (MIXED, 0.7501, Outcome.FAIL, "3 of 4 nodes on OpenVINO"),
        (MIXED, 0.75, Outcome.PASS, "3 of 4 nodes on OpenVINO"),
        (placed_from((OPENVINO,), {OPENVINO: [("a", "MatMul")]}), 1.0, Outcome.PASS, "1 of 1 node on OpenVINO"),
        (placed_from((OPENVINO,), {CPU: [("a", "MatMul")]}), 0.01, Outcome.FAIL, "0 of 1 node on OpenVINO"),
        (placed_from((OPENVINO,), {CPU: [("a", "MatMul")]}), 0.0, Outcome.PASS, "0 of 1 node on OpenVINO"),
        # Two that are asked for count together; what the CPU runs is asked for if nothing else is.
        (
            placed_from(("A", OPENVINO), {"A": [("a", "Add")], OPENVINO: [("b", "Add")]}),
            1.0,
            Outcome.PASS,
            "2 of 2 nodes on A and OpenVINO",
        ),
        (placed_from((CPU,), {CPU: [("a", "MatMul")]}), 1.0, Outcome.PASS, "1 of 1 node on CPU"),
        (placed_from((OPENVINO,), {}), 1.0, Outcome.PASS, "0 of 0 nodes on OpenVINO"),
    ],
)
def test_the_share_of_nodes_decides(found: Placed, min_share: float, outcome: Outcome, figure: str) -> None:
    own, against = judge_placement(PlacementLimit(min_share=min_share), found, NONE)
    assert (own.against, own.outcome, own.figure) == (LIMIT, outcome, figure)
    assert (against.against, against.outcome) == (BASELINE, Outcome.NOT_COMPARED)


def test_what_fell_back_is_named() -> None:
    own, _ = judge_placement(PlacementLimit(), MIXED, NONE)
    assert "3 of 4 nodes on OpenVINO (75.0 %), at least 100.0 % asked for (min_share=1)" in own.message
    assert f"Fell back: 1 Unique.\n  u (Unique) on {CPU}\n" in own.message
    nameless = placed_from((OPENVINO,), {CPU: [("", f"Op{i % 3}") for i in range(200)]})
    own, _ = judge_placement(PlacementLimit(), nameless, NONE)
    assert "67 Op0, 67 Op1, 66 Op2" in own.message
    assert "a node without a name (Op0)" in own.message
    assert len(own.message.splitlines()) < 20


def test_what_falls_back_since_the_last_release_is_told() -> None:
    def baseline(operators: dict[str, int]) -> Baseline:
        section = PlacementSection(4, 4 - sum(operators.values()), operators)
        return Baseline("m", "onnx", Artefact("a", "0", 1, True), {"placement": section})

    _, against = judge_placement(PlacementLimit(min_share=0.5), MIXED, baseline({}))
    assert against.outcome is Outcome.PASS
    assert CHECK.remark(against) == "operators that fall back and did not in the last release: Unique"
    _, same = judge_placement(PlacementLimit(min_share=0.5), MIXED, baseline({"Unique": 1}))
    assert CHECK.remark(same) == ""
    _, lacking = judge_placement(PlacementLimit(), MIXED, Baseline("m", "onnx", Artefact("a", "0", 1, True)))
    assert lacking.outcome is Outcome.MISSING


def graph(path: Path, source: str) -> Path:
    ins, outs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])] for name in "xy")
    weights = {"c": np.ones((1, 4), np.float32)} if source == "c" else {}
    return save_graph(path, [helper.make_node("Relu", [source], ["y"], name="only")], ins, outs, weights)


def test_a_graph_without_a_recorded_node_passes_only_if_none_is_left_to_run(tmp_path: Path) -> None:
    folded = placed_from(
        (CPU,), {part.provider: part.nodes for part in placements(graph(tmp_path / "a.onnx", "c"), ON_CPU)}
    )
    assert judge_placement(PlacementLimit(), folded, NONE)[0].outcome is Outcome.PASS
    # In ONNX Runtime's own format nodes are assigned without a record.
    options, own = onnxruntime.SessionOptions(), tmp_path / "own.ort"
    options.optimized_model_filepath = str(own)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph(tmp_path / "b.onnx", "x")), options)
    with pytest.raises(NoRecord, match=r"although 1 node is left to run: only \(Relu\)\. So nobody knows"):
        placements(own, ON_CPU)
    # Neither does a model say so whose graph cannot be written down.
    with pytest.raises(NoRecord, match="and does not say which nodes are left to run: "):
        placements(own, Runtime(session_options={"session.save_model_format": "ORT"}))
