"""The public functions: what they take, give and refuse."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_models import convnet, dense, dynamic, static
from onnx import numpy_helper

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint import (
    RULES,
    GraphError,
    Signature,
    check_graph,
    compare_operators,
    compare_signatures,
    signature,
    summarize,
)


def edited(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def test_a_float_model_alone_is_not_asked_for_quantization():
    assert check_graph(convnet()) == []


def test_a_float_model_beside_a_float_model_is_not_quantized():
    codes = [finding.code for finding in check_graph(convnet(), convnet())]
    assert codes == ["OLX601", "OLX601"]


def test_a_path_a_proto_and_an_ir_model_give_the_same_findings(tmp_path):
    model = edited(static(convnet()))
    model.graph.output[0].name = "gone"
    onnx.save(model, tmp_path / "m.onnx")
    by_path = check_graph(tmp_path / "m.onnx", convnet())
    assert by_path
    assert [f.code for f in check_graph(model, convnet())] == [f.code for f in by_path]
    assert check_graph(str(tmp_path / "m.onnx"), convnet()) == by_path
    sound = static(convnet())
    assert check_graph(ir.from_proto(sound), ir.from_proto(convnet())) == []


def test_checking_changes_nothing():
    model = static(convnet())
    before = model.SerializeToString(deterministic=True)
    check_graph(model, convnet())
    summarize(model)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00" * 100, "not an ONNX model"),
        (b"PK\x03\x04 a zip", "not an ONNX model"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_model_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphError, match=message) as caught:
        check_graph(path)
    assert "model.onnx" in str(caught.value)
    assert isinstance(caught.value, OnnxliteError)
    assert isinstance(caught.value, ValueError)


def test_a_tensor_without_a_data_type_is_damage():
    model = edited(convnet())
    model.graph.initializer[0].data_type = onnx.TensorProto.UNDEFINED
    for ask in (check_graph, summarize):
        with pytest.raises(GraphError, match=f"tensor '{model.graph.initializer[0].name}' has no data type"):
            ask(model)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("bad", "code"), [(0.0, "OLX302"), (1e-45, "OLX303"), (np.inf, "OLX301"), (np.nan, "OLX301")])
def test_broken_scales_are_findings_and_no_warnings_of_numpy(bad, code):
    model = edited(static(convnet(), per_channel=True))
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_scale"):
            tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, bad, np.float32), tensor.name))
    codes = {finding.code for finding in check_graph(model, convnet())}
    assert codes & {"OLX301", "OLX302", "OLX303"} == {code}


def test_an_object_of_another_type_is_refused():
    with pytest.raises(GraphError, match="found list"):
        check_graph([])  # type: ignore[arg-type]


def test_an_exclusion_that_matches_nothing_is_a_finding():
    q = dynamic(convnet(), nodes_to_exclude=["fc"])
    assert check_graph(q, convnet(), excluded=["fc"]) == []
    assert check_graph(q, convnet(), excluded=["MatMul"]) == []
    assert [f.code for f in check_graph(q, convnet(), excluded=["fc", "head*"])] == ["OLX901"]
    assert [f.code for f in check_graph(q, convnet())] == ["OLX601"]


def test_a_lone_name_is_one_name():
    q = dynamic(convnet(), nodes_to_exclude=["fc"])
    assert check_graph(q, convnet(), excluded="fc") == []
    assert check_graph(q, convnet(), ignore="OLX601") == []


def test_an_ir_model_without_a_weight_has_nothing_that_produces_it():
    model = ir.from_proto(convnet())
    model.graph.initializers["fc_w"].const_value = None
    assert {finding.code for finding in check_graph(model)} == {"OLX101", "OLX104"}


def test_an_excluded_node_that_is_quantized_is_a_finding():
    assert [f.code for f in check_graph(dynamic(convnet()), convnet(), excluded=["fc"])] == ["OLX609"]
    assert [f.code for f in check_graph(static(convnet()), convnet(), excluded=["fc"])] == ["OLX609"]


def test_an_excluded_node_is_float_where_its_activation_alone_is_dequantized():
    q = static(convnet(), nodes_to_exclude=["fc"])
    makers = {name: n.op_type for n in q.graph.node for name in n.output}
    fc = next(n for n in q.graph.node if n.name == "fc")
    # Older quantizers leave out what lies behind the Flatten.
    assert [makers.get(name) for name in fc.input] in (["DequantizeLinear", None], ["Flatten", None])
    assert check_graph(q, convnet(), excluded=["fc"]) == []


def test_an_ignored_code_must_match():
    q = dynamic(convnet(), nodes_to_exclude=["fc"])
    assert check_graph(q, convnet(), ignore=["OLX601"]) == []
    found = check_graph(q, convnet(), ignore=["OLX601", "OLX301"])
    assert [f.code for f in found] == ["OLX902"]
    assert "OLX301" in found[0].where


def test_a_finding_says_what_where_why_and_what_to_do():
    q = dynamic(convnet(), nodes_to_exclude=["fc"])
    (finding,) = check_graph(q, convnet())
    text = str(finding)
    assert len(text.splitlines()) == 3
    assert "fc (fc_w)" in text
    assert "20,480 bytes of FLOAT" in text
    assert finding.why == RULES["OLX601"].why
    assert json.loads(json.dumps(finding.as_dict()))["severity"] == "error"


def test_a_summary_counts_operators_and_bytes_and_says_why():
    q = dynamic(convnet(), nodes_to_exclude=["fc"])
    summary = summarize(q, excluded=["fc"])
    assert summary.operators["ConvInteger"] == 1
    assert summary.operators["MatMul"] == 1
    assert summary.weight_bytes["FLOAT"] == 20480 + 8 * 4 + 4
    assert summary.total_bytes == sum(summary.weight_bytes.values())
    (left,) = summary.float_left
    assert (left.tensor, left.node, left.bytes, left.reason) == ("fc_w", "fc", 20480, "excluded by 'fc'")
    assert json.loads(json.dumps(summary.as_dict())) == summary.as_dict()


def test_a_signature_survives_json():
    found = signature(convnet())
    assert str(found.inputs[0]) == "x: FLOAT[N, 3, 8, 8]"
    assert Signature.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    with pytest.raises(GraphError, match="expected a signature"):
        Signature.from_dict({"inputs": []})


def change(side: str, **fields) -> Signature:
    data = signature(convnet()).as_dict()
    data[side][0].update(fields)
    return Signature.from_dict(data)


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (change("inputs"), []),
        (change("inputs", name="image"), ["OLX201"]),
        (change("inputs", dtype="UINT8"), ["OLX203"]),
        (change("inputs", shape=["N", 3, 64]), ["OLX204"]),
        (change("inputs", shape=None), ["OLX204"]),
        (change("inputs", shape=["N", 1, 8, 8]), ["OLX205"]),
        (change("inputs", shape=[1, 3, 8, 8]), ["OLX206"]),
        (change("outputs", shape=[None, 10]), []),
        (change("outputs", shape=["N", None]), ["OLX207"]),
        (change("outputs", shape=["M", 10]), ["OLX208"]),
    ],
)
def test_signatures_differ(found, codes):
    assert [f.code for f in compare_signatures(signature(convnet()), found)] == codes


def test_dims_may_be_renamed_together_but_not_merged():
    base = {
        "inputs": [{"name": n, "dtype": "FLOAT", "shape": [d]} for n, d in (("a", "N"), ("b", "M"))],
        "outputs": [],
    }
    expected = Signature.from_dict(base)
    renamed = json.loads(json.dumps(base).replace('"N"', '"batch"'))
    merged = json.loads(json.dumps(base).replace('"M"', '"N"'))
    swapped = {**base, "inputs": base["inputs"][::-1]}
    assert compare_signatures(expected, Signature.from_dict(renamed)) == []
    assert [f.code for f in compare_signatures(expected, Signature.from_dict(merged))] == ["OLX208"]
    assert [f.code for f in compare_signatures(expected, Signature.from_dict(swapped))] == ["OLX202"]


def test_operator_changes_read_like_a_sentence():
    before, after = summarize(dense()).operators, summarize(dynamic(dense())).operators
    change = compare_operators(before, after)
    assert str(change) == "+4 Mul, +2 Cast, +2 DynamicQuantizeLinear, +2 MatMulInteger, -2 MatMul"
    assert change
    assert not compare_operators(before, before)
    assert str(compare_operators(before, before)) == "no change"
