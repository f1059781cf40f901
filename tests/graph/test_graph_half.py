"""Half precision and weights in blocks: sound files have no finding, and what is broken in one is found."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from float_mutations import FLOAT_MUTATIONS, SCOPES, FloatMutation, source
from graph_cases import changed_blocks, changed_half, copy, with_weight
from graph_models import FLOAT, convnet, dense, finish, gelu, initializer, value
from graph_mutations import array, put, tensor
from onnx import helper

from pytest_onnxlite.errors import OnnxliteError
from pytest_onnxlite.lint import check_graph
from pytest_onnxlite.spec.recipes import Float16, WeightOnly
from pytest_onnxlite.variants import blocks, half

# Where the table names the code of a float tensor that has kept its type.
OTHER = {"OLX702": "OLX805", "OLX806": "OLX104"}


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """The models of each scope in half precision."""
    folder, found = tmp_path_factory.mktemp("halves"), {}
    for scope in SCOPES:
        onnx.save(source(scope), folder / "float.onnx")
        half.convert(folder / "float.onnx", Float16(), scope, folder / "half.onnx")
        found[scope] = onnx.load(folder / "half.onnx")
    return found


def codes(found):
    return {finding.code for finding in found}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_model_in_half_precision_is_its_source(halves, scope):
    assert check_graph(halves[scope], source(scope)) == []


@pytest.mark.parametrize("mutation", FLOAT_MUTATIONS, ids=lambda m: m.name)
def test_a_change_is_seen_in_half_precision_too(halves, mutation: FloatMutation):
    for scope in SCOPES[:1] if mutation.top else [scope for scope in SCOPES if scope != "function"]:
        mutant = copy(halves[scope])
        mutation.apply(mutant)
        errors = {f.code for f in check_graph(mutant, source(scope)) if f.severity == "error"}
        assert errors & {mutation.code, OTHER.get(mutation.code)}, (scope, sorted(errors))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("keep", [["LayerNormalization"], ["Clip", "fc"], ["*"]])
def test_what_is_kept_is_sound_in_branches_and_bodies_too(tmp_path, scope, keep):
    onnx.save(source(scope), tmp_path / "float.onnx")
    half.convert(tmp_path / "float.onnx", Float16(keep=keep), scope, tmp_path / "half.onnx")
    assert check_graph(tmp_path / "half.onnx", source(scope), excluded=keep) == []


def test_a_wrong_weight_is_found_and_its_rounding_is_not(tmp_path):
    def off(model):
        values = array(model, "w1").copy()
        values[3, 5] = np.nextafter(np.float16(values[3, 5]), np.float16(100)) + np.float16(0.01)
        put(model, "w1", values)

    assert codes(check_graph(changed_half(tmp_path, off), dense())) == {"OLX805"}


def test_a_convolution_has_its_weights_and_its_bias_in_half_precision(tmp_path):
    model = changed_half(tmp_path, lambda model: None, source=convnet())
    assert check_graph(model, convnet()) == []
    put(model, "conv_b", np.flip(array(model, "conv_b")))
    assert codes(check_graph(model, convnet())) == {"OLX805"}


def test_what_half_precision_cannot_hold_stays_in_float32_by_itself(tmp_path):
    large = with_weight(1e5)
    model = changed_half(tmp_path, lambda model: None, source=large)
    assert tensor(model, "w1").data_type == FLOAT
    onnx.save(large, tmp_path / "float.onnx")
    decided = half.convert(tmp_path / "float.onnx", Float16(), "dense", tmp_path / "half.onnx")
    assert decided.excluded == ("fc1",)
    assert decided.notes == ("fc1 stay in float32: they hold values beyond 65,504",)
    assert check_graph(tmp_path / "half.onnx", large, excluded=decided.excluded) == []


def test_a_mask_that_stands_for_infinity_is_a_warning(tmp_path):
    nodes = [
        helper.make_node("Where", ["m", "x", "low"], ["masked"], "mask"),
        helper.make_node("Softmax", ["masked"], ["y"], "soft"),
    ]
    stored = [initializer("low", np.array(-3e38, np.float32))]
    inputs = [value("m", ["N", 8], onnx.TensorProto.BOOL), value("x", ["N", 8])]
    mask = finish(nodes, inputs, [value("y", ["N", 8])], stored)
    found = check_graph(changed_half(tmp_path, lambda model: None, source=mask), mask)
    assert [(f.code, f.severity) for f in found] == [("OLX331", "warning")]
    infinite = changed_half(tmp_path, lambda model: put(model, "low", np.array(-np.inf, np.float16)), source=mask)
    errors = [f.code for f in check_graph(infinite, mask) if f.severity == "error"]
    assert "OLX331" in errors


def test_a_small_epsilon_is_a_warning_until_it_is_zero(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "eps"], ["safe"], "add"),
        helper.make_node("Div", ["one", "safe"], ["y"], "divide"),
    ]
    stored = [initializer("eps", np.array(1e-12, np.float32)), initializer("one", np.array(1, np.float32))]
    model = finish(nodes, [value("x", ["N", 8])], [value("y", ["N", 8])], stored)
    found = check_graph(changed_half(tmp_path, lambda model: None, source=model), model)
    assert [(f.code, f.severity) for f in found] == [("OLX332", "warning")]
    zero = changed_half(tmp_path, lambda model: put(model, "eps", np.array(0, np.float16)), source=model)
    assert ("OLX332", "error") in {(f.code, f.severity) for f in check_graph(zero, model)}


def test_neighbours_that_are_kept_hand_on_float32(tmp_path):
    model = changed_half(tmp_path, lambda model: None, keep=["fc1", "add1", "fc2"])
    casts = [n for n in model.graph.node if n.op_type == "Cast"]
    # One behind add1 and one in front of fc2; x and y are float32 as they are.
    assert len(casts) == 2
    assert check_graph(model, dense(), excluded=["fc1", "add1", "fc2"]) == []


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (WeightOnly(), dense),
        (WeightOnly(8, 64), dense),
        (WeightOnly(4, 16, symmetric=True), gelu),
        (WeightOnly(exclude=["fc2"]), dense),
        (WeightOnly(4, 128), convnet),
    ],
)
def test_weights_in_blocks_are_sound(tmp_path, recipe, model):
    onnx.save(model(), tmp_path / "float.onnx")
    decided = blocks.quantize(tmp_path / "float.onnx", recipe, "m", tmp_path / "blocks.onnx")
    found = check_graph(tmp_path / "blocks.onnx", model(), excluded=decided.excluded)
    assert [finding for finding in found if finding.severity == "error"] == []


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("a scale × 10", lambda model: put(model, "w1_scales", array(model, "w1_scales") * 10), "OLX701"),
        ("scales permuted", lambda model: put(model, "w1_scales", np.flip(array(model, "w1_scales"))), "OLX701"),
        ("a scale is NaN", lambda model: put(model, "w1_scales", array(model, "w1_scales") * np.nan), "OLX301"),
        ("weights of zero", lambda model: put(model, "w1_Q4", array(model, "w1_Q4") * 0), "OLX701"),
        (
            "zero points of another",
            lambda model: put(model, "w1_zero_points", np.flip(array(model, "w1_zero_points"))),
            "OLX701",
        ),
        ("zero points cut off", lambda model: put(model, "w1_zero_points", np.ones(3, np.uint8)), "OLX341"),
        ("weights cut off", lambda model: put(model, "w1_Q4", array(model, "w1_Q4")[:5]), "OLX341"),
        ("another K", lambda model: _set(model, "K", 64), "OLX341"),
        ("another block size", lambda model: _set(model, "block_size", 16), "OLX341"),
        ("blocks of 24", lambda model: _set(model, "block_size", 24), "OLX342"),
    ],
)
def test_a_change_of_weights_in_blocks_is_seen(tmp_path, name, change, code):
    found = check_graph(changed_blocks(tmp_path, change), dense())
    assert code in {finding.code for finding in found if finding.severity == "error"}, name


def _set(model, attribute, number):
    product = next(n for n in model.graph.node if "w1_Q4" in n.input)
    next(a for a in product.attribute if a.name == attribute).i = number


def test_one_weight_that_two_products_read_is_stored_once(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "one"),
        helper.make_node("MatMul", ["h", "w"], ["y"], "two"),
    ]
    weight = initializer("w", np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32))
    model = finish(nodes, [value("x", ["N", 32])], [value("y", ["N", 32])], [weight])
    onnx.save(model, tmp_path / "float.onnx")
    blocks.quantize(tmp_path / "float.onnx", WeightOnly(), "m", tmp_path / "blocks.onnx")
    assert check_graph(tmp_path / "blocks.onnx", model) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda a, b: half.convert(a, Float16(keep=["Relux"]), "m", b),
            "keep='Relux' matches no node of the graph that is",
        ),
        (lambda a, b: half.convert(b, Float16(), "m", b), "no tensor in float32"),
        (
            lambda a, b: blocks.quantize(a, WeightOnly(exclude=["MatMul"]), "m", b),
            "changed nothing: float.onnx has no MatMul",
        ),
    ],
)
def test_a_recipe_that_does_nothing_is_an_error(tmp_path, call, message):
    a, b = tmp_path / "float.onnx", tmp_path / "other.onnx"
    onnx.save(dense(), a)
    relu = helper.make_node("Relu", ["x"], ["y"], "relu")
    onnx.save(finish([relu], [value("x", ["N", 2])], [value("y", ["N", 2])], []), b)
    with pytest.raises(OnnxliteError, match=message):
        call(a, b)


def test_whole_numbers_that_are_cast_for_what_stays_in_float32_come_to_it_in_float32(tmp_path):
    # Range stays in float32 by itself; in half precision its end would be rounded from 2,048 on.
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "axis"], ["width"], "gather", axis=0),
        helper.make_node("Cast", ["width"], ["end"], "cast", to=FLOAT),
        helper.make_node("Range", ["start", "end", "delta"], ["places"], "range"),
        helper.make_node("Add", ["x", "places"], ["moved"], "add"),
        helper.make_node("Transpose", ["moved"], ["y"], "turn", perm=[1, 0]),
    ]
    numbers = {"start": np.array(0.5, np.float32), "delta": np.array(1, np.float32), "axis": np.array(1, np.int64)}
    stored = [initializer(name, array) for name, array in numbers.items()]
    model = finish(nodes, [value("x", ["N", "W"])], [value("y", ["W", "N"])], stored)
    model = onnx.shape_inference.infer_shapes(model)
    half_model = changed_half(tmp_path, lambda model: None, source=model)
    assert check_graph(half_model, model) == []
    end = next(n for n in half_model.graph.node if n.op_type == "Range").input[1]
    cast = next(n for n in half_model.graph.node if n.output[0] == end)
    assert (cast.op_type, list(cast.input)) == ("Cast", ["width"])
    declared = {value.name for value in half_model.graph.value_info}
    assert declared >= {"shape", "moved"}


def test_weights_of_long_ago_that_are_listed_as_inputs_are_converted(tmp_path):
    old = copy(dense())
    old.ir_version = 3
    old.graph.input.extend(value(t.name, list(t.dims)) for t in old.graph.initializer)
    model = changed_half(tmp_path, lambda model: None, source=old)
    assert tensor(model, "w1").data_type == onnx.TensorProto.FLOAT16
    assert [f for f in check_graph(model, old) if f.severity == "error"] == []


def test_the_fill_of_a_shape_is_compared_in_half_precision(tmp_path):
    fill = onnx.numpy_helper.from_array(np.array([0.1], np.float32))
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("ConstantOfShape", ["shape"], ["filled"], "fill", value=fill),
        helper.make_node("Add", ["x", "filled"], ["y"], "add"),
    ]
    model = finish(nodes, [value("x", ["N", 8])], [value("y", ["N", 8])], [])
    half_model = changed_half(tmp_path, lambda model: None, source=model)
    assert check_graph(half_model, model) == []
    half_model.graph.node[2].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.array([0.2], np.float16)))
    assert codes(check_graph(half_model, model)) & {"OLX803", "OLX805"}
