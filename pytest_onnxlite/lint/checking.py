"""All checks, in the order in which a person would ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pytest_onnxlite.errors import hide_mistakes
from pytest_onnxlite.garbage import no_collections
from pytest_onnxlite.lint import block_shapes, clipping, coverage, half, pairs, parameters, sizes, validity, values
from pytest_onnxlite.lint.biases import check_bias
from pytest_onnxlite.lint.context import Context
from pytest_onnxlite.lint.finding import Finding, GraphError, report
from pytest_onnxlite.lint.likeness.check import check_source
from pytest_onnxlite.lint.loading import LoadedModel, ModelLike, asking, load_model
from pytest_onnxlite.lint.model_index import ModelIndex
from pytest_onnxlite.lint.products import check_dynamic_quantizers, check_product, check_weight_types
from pytest_onnxlite.lint.randomness import check_randomness
from pytest_onnxlite.lint.signatures import compare_signatures, signature_of
from pytest_onnxlite.lint.training import check_training

__tracebackhide__ = hide_mistakes


def check_signature(context: Context) -> Iterator[Finding]:
    """Callers of the float model can call the quantized one."""
    if context.reference is not None:
        expected, found = signature_of(context.reference.model), signature_of(context.index.model)
        yield from compare_signatures(expected, found)


def check_storage(context: Context) -> Iterator[Finding]:
    """Every tensor's data is there, and of the size that its shape asks for."""
    for constant in context.index.constants:
        fault = context.index.unreadable.get(constant.value)
        if fault is not None:
            yield report(fault.code, constant.where, fault.expected, fault.found)


def check_dynamic_pattern(context: Context) -> Iterator[Finding]:
    """Integer products and what quantizes their inputs at run time."""
    for product in context.quantized_tensors.products:
        yield from check_product(context.index, product)
    yield from check_dynamic_quantizers(context.index)
    yield from check_weight_types(context.index)


def check_biases(context: Context) -> Iterator[Finding]:
    """Each quantized bias."""
    for bias in context.biases:
        yield from check_bias(bias, context.reference)


Checked = TypeVar("Checked", LoadedModel, Context)
# Asked of the stored form, which may hold what no graph can.
STORED_CHECKS: tuple[Callable[[LoadedModel], Iterable[Finding]], ...] = (
    validity.check_checker,
    validity.check_names,
    validity.check_node_names,
    validity.check_opset_imports,
)
# Codes of outputs whose shapes differ.
_SHAPES = ("OLX204", "OLX205", "OLX206", "OLX207")
CHECKS: tuple[Callable[[Context], Iterable[Finding]], ...] = (
    check_signature,
    check_storage,
    validity.check_reference,
    validity.check_leftovers,
    validity.check_portability,
    check_randomness,
    check_training,
    validity.check_opset_versions,
    validity.check_metadata,
    parameters.check_scales,
    parameters.check_zero_points,
    parameters.check_shapes,
    check_biases,
    check_dynamic_pattern,
    pairs.check_pairs,
    pairs.check_inputs,
    pairs.check_movers,
    pairs.check_calibration,
    clipping.check_clipping,
    block_shapes.check_block_shapes,
    values.check_symmetry,
    values.check_range,
    values.check_saturation,
    values.check_float_tensors,
    values.check_likeness,
    half.check_half_values,
    half.check_half_kept,
    half.check_casts,
    half.check_half_coverage,
    coverage.check_coverage,
    coverage.check_dequantized,
    coverage.check_exclusions,
    sizes.check_size,
    sizes.check_operators,
    sizes.check_external_files,
)


def _blame(findings: list[Finding], reference: ModelIndex | None) -> list[Finding]:
    """Put the float model's own fault in the place of those that follow from it: types and shapes that it declares wrongly."""
    followed = {f for f in findings if f.code == "OLX102" or (f.code in _SHAPES and f.where.startswith("output "))}
    own = [] if reference is None or not followed else list(validity.check_checker(reference.loaded))
    if [finding.code for finding in own] != ["OLX102"]:
        return findings
    text = "correct the declaration in the float model; what was made from it is not at fault"
    blamed = [replace(finding, where=f"the float model {finding.where}", hint=text) for finding in own]
    return [*(finding for finding in findings if finding not in followed), *blamed]


def _ask(
    check: Callable[[Checked], Iterable[Finding]], checked: Checked, label: str, stopped: list[Finding]
) -> list[Finding]:
    """Return what a check finds; of one that a malformed part of the model stops, that it was stopped."""
    name = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        with asking(label, f"what the check of {name} asks"):
            return list(check(checked))
    except GraphError as error:
        stopped.append(report("OLX101", label, "a model that every check can read", str(error)))
        return []


def check_graph(
    quantized: ModelLike,
    float_model: ModelLike | None = None,
    *,
    excluded: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> list[Finding]:
    """Return what is wrong with a graph; an empty list for a sound one.

    A float model may be checked too: without quantized nodes and without `float_model`, what asks for
    quantization is not asked.

    Args:
        quantized: the model to check: a path, `onnx.ModelProto` or `onnx_ir.Model`. It is not changed.
        float_model: the model that it was made from; with it, signature, metadata, weights and size are
            compared.
        excluded: names, globs or operator types of nodes left in float on purpose. One that matches none is
            a finding (`OLX901`).
        ignore: codes of findings that are known and accepted. One that matches no finding is a finding itself
            (`OLX902`).

    Raises:
        GraphError: a file is missing or no ONNX model, or an object is of another type.
    """
    # A lone name is a sequence of letters to Python, and meant as one name.
    excluded, ignore = ((names,) if isinstance(names, str) else tuple(names) for names in (excluded, ignore))
    findings, stopped = find(quantized, float_model, excluded)
    kept = [*(finding for finding in findings if finding.code not in ignore), *stopped]
    matched = {finding.code for finding in findings}
    for code in sorted(set(ignore) - matched):
        kept.append(report("OLX902", f"ignore={code!r}", "a finding of this code", "none"))
    return kept


def find(
    quantized: ModelLike, float_model: ModelLike | None, excluded: tuple[str, ...]
) -> tuple[list[Finding], list[Finding]]:
    """Return what is wrong with a graph, and which checks were stopped: what could not be looked for nobody can know and accept.

    Args:
        quantized: see `check_graph`.
        float_model: see `check_graph`.
        excluded: see `check_graph`.

    Raises:
        GraphError: see `check_graph`.
    """
    loaded = load_model(quantized)
    stopped: list[Finding] = []
    # Scales of zero, infinity and NaN are what is looked for, and no news to NumPy.
    with np.errstate(all="ignore"), no_collections():
        findings = [finding for check in STORED_CHECKS for finding in _ask(check, loaded, loaded.label, stopped)]
        if loaded.model is not None:
            context = Context(ModelIndex(loaded), None if float_model is None else ModelIndex(float_model), excluded)
            findings += [finding for check in CHECKS for finding in _ask(check, context, loaded.label, stopped)]
            # A weight that is off by its name is off by its place too.
            known = {(finding.code, finding.where) for finding in findings}
            likeness = _ask(check_source, context, loaded.label, stopped)
            findings += [finding for finding in likeness if (finding.code, finding.where) not in known]
            findings = _blame(findings, context.reference)
        elif not findings:
            findings.append(report("OLX101", loaded.label, "a graph that can be read", loaded.unreadable))
    return list(dict.fromkeys(findings)), stopped
