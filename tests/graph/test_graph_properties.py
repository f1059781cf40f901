"""What holds for every model: of the checks, and of quantization as the checks see it.

`--hypothesis-profile=hunt` looks at 2,000 models for each property instead of a few.
"""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_mutations import array, put
from graph_running import LEVELS, prepared, quantized, quiet, run, session, statically_quantized
from hypothesis import event, given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import quantize_dynamic
from portability import saturates

from pytest_onnxlite import DynamicInt8, OnnxliteError, StaticInt8
from pytest_onnxlite.lint import GraphError, check_graph, signature, summarize
from pytest_onnxlite.runtime.sessions import TensorInfo
from pytest_onnxlite.spec.recipes import Calibration as Method
from pytest_onnxlite.spec.recipes import Format, Integer, Recipe
from pytest_onnxlite.strategies import BLOCKS, OPSETS, RandomModel, inputs_for, models
from pytest_onnxlite.variants.first_run import require_sound
from pytest_onnxlite.variants.quantization import Calibration, quantize

MODERATE = ("normal", "zero_channel", "constant")
JUMPY = {"if", "sigmoid", "loop", "lstm"}
SMOOTH = tuple(name for name in BLOCKS if name != "if")
SATURATES = saturates()
FLAT = tuple(name for name, block in BLOCKS.items() if block.rank == 2 and name not in ("if", "loop", "empty"))
# Static quantization fails before opset 13, DequantizeLinear of 28 does not run: docs/known-faults.md.
RUNTIME_OPSETS = tuple(opset for opset in OPSETS if opset <= 27)
STATIC_OPSETS = tuple(opset for opset in RUNTIME_OPSETS if opset >= 13)
tallies: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)


def feed_of(draw, model: RandomModel, **options):
    return draw(inputs_for(signature(model.proto), **options))


@pytest.fixture(scope="module", autouse=True)
def most_are_sound():
    """A property that allows for errors says nothing, if all that is drawn ends in one. What is drawn changes with the modules loaded."""
    yield
    for name, counts in tallies.items():
        print(f"{name}: {dict(counts.most_common())}")  # noqa: T201
        # To refuse what has no weights, or what calibration saw nothing of, is right.
        refused = counts["quantization changed nothing"] + counts["calibration saw nothing but zeros"]
        assert counts["sound"] > 0.2 * (counts.total() - refused), name


@given(models(), st.data())
def test_drawn_models_are_valid_sound_and_run(model, data):
    onnx.checker.check_model(model.proto, full_check=True)
    assert check_graph(model.proto) == []
    run(model.proto, feed_of(data.draw, model))


@given(models())
def test_where_weights_lie_changes_no_finding_and_no_byte(model):
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder))
        assert check_graph(path) == []
        assert summarize(path).weight_bytes == summarize(model.proto).weight_bytes


def abs_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the magnitudes of its weights: what its sums could be at most."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    tensors = list(twin.graph.initializer)
    tensors += [a.t for n in twin.graph.node if n.op_type == "Constant" for a in n.attribute]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(np.abs(numpy_helper.to_array(tensor)), tensor.name))
    return twin


def assert_right(
    model: RandomModel, q: onnx.ModelProto | str, feed: dict[str, np.ndarray], *, near: bool = True
) -> None:
    """Compare a quantized model that nothing was found wrong with to the float one, its numbers too where `near`."""
    expected, got = run(model.proto, feed), run(q, feed)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert np.isfinite(got).all() or not np.isfinite(expected).all()
    # How far off is wrong can be said where weights and inputs are of one size and nothing jumps.
    calm = model.weights in MODERATE and max(float(np.abs(v).max(initial=0)) for v in feed.values()) < 10
    if near and calm and not JUMPY & set(dict(model.blocks)) and expected.size:
        magnitude = run(abs_model(model.proto), {name: np.abs(values) for name, values in feed.items()})
        assert np.abs(got - expected).max() <= 0.25 * max(np.abs(magnitude).max(), 1e-6)


@pytest.mark.int8_answers
@pytest.mark.parametrize("form", ["dynamic", "dynamic per channel", "static"])
@given(data=st.data())
def test_quantization_ends_in_an_error_a_finding_or_a_right_model(form, data):
    model = data.draw(models(opsets=STATIC_OPSETS if form == "static" else RUNTIME_OPSETS))
    feed = feed_of(data.draw, model, extremes=False)
    with quiet():
        try:
            if form == "static":
                q = statically_quantized(model, [feed])
            else:
                q = quantized(model, per_channel=form != "dynamic")
        except Exception as error:  # the quantizer's own, which must not pass for ours
            outcome = f"quantizer: {type(error).__name__}"
            event(outcome)
            tallies[form][outcome] += 1
            return
    findings = check_graph(q, model.proto)
    errors = sorted({finding.code for finding in findings if finding.severity == "error"})
    outcome = f"found {' '.join(errors)}" if errors else "sound"
    event(outcome)
    tallies[form][outcome] += 1
    if errors:
        return
    assert_right(model, q, feed)


def recipes(form: str) -> st.SearchStrategy[Recipe]:
    """Draw what a user may ask for."""
    types, flags = st.just("auto") | st.sampled_from(get_args(Integer)), st.booleans()
    if form == "dynamic":
        return st.builds(DynamicInt8, weight_type=types, per_channel=flags, reduce_range=flags)
    # Int8 activations have no kernels with uint8 weights.
    pairs = st.tuples(st.just("uint8"), types) | st.tuples(st.just("int8"), st.sampled_from(("auto", "int8")))
    return pairs.flatmap(lambda pair: static_recipes(pair[0], pair[1], flags))


def static_recipes(activations: str, weights: str, flags: st.SearchStrategy[bool]) -> st.SearchStrategy[Recipe]:
    return st.builds(
        StaticInt8,
        # Most often the one that takes no second of histograms. ONNX Runtime's entropy takes hours where one sample's range is a small
        # part of the next one's: its histogram has a bin for each such part, and is looked at as often.
        method=st.just("minmax")
        | st.sampled_from(get_args(Method)).map(lambda method: method.replace("entropy", "percentile")),
        format=st.sampled_from(get_args(Format)),
        per_channel=flags,
        weight_type=st.just(weights),
        activation_type=st.just(activations),
        reduce_range=flags,
    )


@pytest.mark.int8_answers
@pytest.mark.parametrize("form", ["dynamic", "static"])
@given(data=st.data())
def test_our_own_quantization_ends_in_a_clear_error_or_in_a_right_model(form, data):
    model, recipe = data.draw(models()), data.draw(recipes(form))
    feed = feed_of(data.draw, model, extremes=False, min_dim=1)
    with tempfile.TemporaryDirectory() as folder:
        source, target = model.save(Path(folder)), Path(folder) / "int8.onnx"
        (declared,) = signature(model.proto).inputs
        infos = (TensorInfo("x", feed["x"].dtype.name, tuple(dim or "N" for dim in declared.shape or ())),)
        try:
            decided = quantize(source, recipe, "m", target, Calibration(feed["x"], infos) if form == "static" else None)
            require_sound(target, source, decided.excluded, "m", recipe)
        except OnnxliteError as error:
            outcome = str(error).partition("\n")[0].partition(":")[2].partition(":")[0].partition(",")[0].strip()
            event(outcome)
            tallies[f"ours, {form}"][outcome] += 1
            return
        try:
            session(str(target))
        except Exception as error:  # what the first run in a child process, of every variant, would find out
            tallies[f"ours, {form}"][f"does not load: {type(error).__name__}"] += 1
            return
        tallies[f"ours, {form}"]["sound"] += 1
        # The other methods cut off what is rare, and in a handful of values all are.
        near = form == "dynamic" or recipe.method == "minmax"
        # Int8 by name is for processors whose sums of products do not saturate.
        named = recipe.weight_type == "int8" and not recipe.reduce_range
        assert_right(model, str(target), feed, near=near and not (named and SATURATES))


@given(models(blocks=FLAT, weights=("normal",), storages=("inline",)), st.integers(-20, 20))
def test_scaling_weights_by_a_power_of_two_scales_their_scale_alone(model, power):
    twin = onnx.ModelProto()
    twin.CopyFrom(model.proto)
    for tensor in list(twin.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2:
            put(twin, tensor.name, array(twin, tensor.name) * np.float32(2.0**power))
    scaled = RandomModel(model.source, model.blocks, model.opset, model.weights, model.storage, model.seed, twin)
    one, other = quantized(model, prepare=False), quantized(scaled, prepare=False)
    for tensor in one.graph.initializer:
        if tensor.name.endswith("_quantized"):
            np.testing.assert_array_equal(array(one, tensor.name), array(other, tensor.name))
            scale = tensor.name.removesuffix("_quantized") + "_scale"
            np.testing.assert_array_equal(array(one, scale) * np.float32(2.0**power), array(other, scale))


@given(models(blocks=FLAT), st.data())
def test_names_change_no_output(model, data):
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model.proto)
    for node in renamed.graph.node:
        node.name = f"zz_{node.name}"
        for field in (node.input, node.output):
            field[:] = [name if name in ("x", "y", "") else f"zz/{name}" for name in field]
    for tensor in renamed.graph.initializer:
        tensor.name = f"zz/{tensor.name}"
    feed = feed_of(data.draw, model, extremes=False)
    other = RandomModel(model.source, model.blocks, model.opset, model.weights, model.storage, model.seed, renamed)
    np.testing.assert_array_equal(run(model.proto, feed), run(renamed, feed))
    np.testing.assert_array_equal(run(quantized(model), feed), run(quantized(other), feed))


@given(models())
def test_quantizing_twice_gives_the_same_bytes_and_leaves_the_input_alone(model):
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = model.save(Path(folder))
        before = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        results = []
        for name in ("a.onnx", "b.onnx"):
            quantize_dynamic(prepared(source), Path(folder) / name, extra_options={"EnableSubgraph": True})
            results.append((Path(folder) / name).read_bytes())
        assert results[0] == results[1]
        assert {name: (Path(folder) / name).read_bytes() for name in before} == before


RUNTIME = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
# QLinearMatMul before 1.32 cannot run what its quantizer makes of a product with three dims.
UNSPLIT = {"empty"} if RUNTIME >= (1, 32) else {"empty", "matmul_3d"}


@pytest.mark.int8_answers
@given(models(blocks=[b for b in SMOOTH if b not in UNSPLIT], weights=("normal",), opsets=STATIC_OPSETS), st.data())
def test_how_a_batch_is_split_changes_neither_float_nor_static_outputs(model, data):
    if model.source in ("steps", "tokens") and "lstm" in dict(model.blocks):
        return  # there the first dim is time
    feed = feed_of(data.draw, model, extremes=False, min_dim=2)
    q = statically_quantized(model, [feed])
    for candidate in (model.proto, q):
        whole = run(candidate, feed)
        rows = [run(candidate, {"x": feed["x"][i : i + 1]}) for i in range(len(feed["x"]))]
        # A sum formed in another order may round another way, and fall on the next step of an output's scale.
        step = output_step(candidate)
        np.testing.assert_allclose(np.concatenate(rows), whole, rtol=1e-4, atol=1e-5 + 1.01 * step)


def output_step(model: onnx.ModelProto) -> float:
    """Return the largest scale of an activation, 0 for a float model."""
    scales = [n.input[1] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    return max((float(array(model, name).max()) for name in scales), default=0.0)


@pytest.mark.int8_answers
@given(models(blocks=FLAT, weights=("normal",)), st.data())
def test_optimization_levels_agree(model, data):
    feed = feed_of(data.draw, model, extremes=False)
    q = quantized(model)
    plain, optimized = (run(q, feed, level) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL))
    size = max(float(np.abs(plain).max(initial=0)), 1e-3)
    np.testing.assert_allclose(optimized, plain, atol=size / 64)


@given(models(blocks=("dense", "relu", "residual", "shared_weight"), storages=("inline",)))
def test_per_channel_weights_are_within_half_a_step_per_tensor(model):
    # Not nearer in every case: of two roundings the finer one can be the less lucky.
    originals = {t.name: array(model.proto, t.name) for t in model.proto.graph.initializer}
    one, each = (quantized(model, prepare=False, per_channel=per_channel) for per_channel in (False, True))
    for name, original in originals.items():
        if f"{name}_quantized" in {t.name for t in one.graph.initializer}:
            integers = array(each, f"{name}_quantized").astype(np.float64)
            back = (integers - array(each, f"{name}_zero_point")) * array(each, f"{name}_scale")
            half = float(array(one, f"{name}_scale")) / 2
            assert np.abs(back - original).max(initial=0) <= half * 1.0001 + 1e-30


@given(models(blocks=("dense", "gemm", "residual"), storages=("inline",), max_blocks=3), st.data())
def test_excluding_more_only_adds_float_bytes(model, data):
    nodes = [n.name for n in model.proto.graph.node if n.op_type in ("MatMul", "Gemm")]
    some = data.draw(st.lists(st.sampled_from(nodes), unique=True))
    more = sorted({*some, data.draw(st.sampled_from(nodes))})
    sizes = []
    for excluded in (some, more):
        q = quantized(model, prepare=False, nodes_to_exclude=excluded)
        assert [f.code for f in check_graph(q, model.proto, excluded=excluded) if f.code in ("OLX601", "OLX901")] == []
        sizes.append(summarize(q).weight_bytes.get("FLOAT", 0))
    assert sizes[0] <= sizes[1] + 4 * len(nodes)  # a scale goes with each weight that stays float


@given(models(blocks=[name for name, block in BLOCKS.items() if block.linear and block.rank != 3]), st.data())
def test_zero_through_a_net_without_biases_stays_zero(model, data):
    if not model.linear:
        return
    feed = {name: np.zeros_like(values) for name, values in feed_of(data.draw, model).items()}
    assert not run(model.proto, feed).any()
    assert not run(quantized(model), feed).any()


@given(models(storages=("inline",)), st.data())
def test_a_damaged_file_ends_in_findings_or_in_a_clear_error(model, data):
    content = bytearray(model.proto.SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.onnx"
        path.write_bytes(bytes(content))
        try:
            check_graph(path, model.proto)
            summarize(path)
        except GraphError as error:
            assert "damaged.onnx" in str(error)  # noqa: PT017


@pytest.mark.filterwarnings("error:::pytest_onnxlite")
@given(models(opsets=STATIC_OPSETS, blocks=("dense", "conv", "gemm", "flatten")), st.data())
def test_a_parameter_turned_bad_in_any_model_is_found(model, data):
    feed = feed_of(data.draw, model, extremes=False)
    q = statically_quantized(model, [feed])
    scales = [t.name for t in q.graph.initializer if t.name.endswith("_scale")]
    if not scales:
        return  # the flatten of an image, alone, has nothing to quantize
    name = data.draw(st.sampled_from(scales))
    bad, code = data.draw(st.sampled_from([(0.0, "OLX302"), (-1.0, "OLX302"), (np.nan, "OLX301"), (1e-40, "OLX303")]))
    values = array(q, name)
    values.flat[data.draw(st.integers(0, values.size - 1))] = bad
    put(q, name, values)
    assert code in {finding.code for finding in check_graph(q, model.proto)}
