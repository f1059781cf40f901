"""All checks, in the order in which a person would ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from pytest_onnxlite.lint import clipping, coverage, pairs, parameters, sizes, validity, values
from pytest_onnxlite.lint.biases import check_bias
from pytest_onnxlite.lint.context import Subject
from pytest_onnxlite.lint.finding import Finding, GraphError, report
from pytest_onnxlite.lint.loading import ModelLike, Opened, open_model
from pytest_onnxlite.lint.model_index import View
from pytest_onnxlite.lint.products import check_dynamic_quantizers, check_product, check_weight_types
from pytest_onnxlite.lint.signature import compare_signatures, signature_of


def check_signature(subject: Subject) -> Iterator[Finding]:
    """Callers of the float model can call the quantized one."""
    if subject.reference is not None:
        expected, found = signature_of(subject.reference.opened), signature_of(subject.view.opened)
        yield from compare_signatures(expected, found)


def check_storage(subject: Subject) -> Iterator[Finding]:
    """Every tensor's data is there, and of the size that its shape asks for."""
    for constant in subject.view.constants:
        fault = subject.view.unreadable.get(constant.value)
        if fault is not None:
            yield report(fault.code, constant.where, fault.expected, fault.found)


def check_dynamic_pattern(subject: Subject) -> Iterator[Finding]:
    """Integer products and what quantizes their inputs at run time."""
    for product in subject.quantities.products:
        yield from check_product(subject.view, product)
    yield from check_dynamic_quantizers(subject.view)
    yield from check_weight_types(subject.view)


def check_biases(subject: Subject) -> Iterator[Finding]:
    """Each quantized bias."""
    for bias in subject.biases:
        yield from check_bias(bias, subject.reference)


# Asked of the stored form, which may hold what no graph can.
OPENED_CHECKS: tuple[Callable[[Opened], Iterable[Finding]], ...] = (
    validity.check_checker,
    validity.check_names,
    validity.check_node_names,
    validity.check_opset_imports,
)
SUBJECT_CHECKS: tuple[Callable[[Subject], Iterable[Finding]], ...] = (
    check_signature,
    check_storage,
    validity.check_reference,
    validity.check_leftovers,
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
    clipping.check_limits,
    values.check_symmetry,
    values.check_range,
    values.check_saturation,
    values.check_float_tensors,
    values.check_likeness,
    coverage.check_coverage,
    coverage.check_exclusions,
    sizes.check_size,
    sizes.check_operators,
    sizes.check_external_files,
)


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
    opened = open_model(quantized)
    # Scales of zero, infinity and NaN are what is looked for, and no news to NumPy.
    with np.errstate(all="ignore"):
        findings = [finding for check in OPENED_CHECKS for finding in check(opened)]
        if opened.model is not None:
            subject = Subject(View(opened, opened.model), _reference(float_model), excluded)
            findings += [finding for check in SUBJECT_CHECKS for finding in check(subject)]
        elif not findings:
            findings.append(report("OLX101", opened.label, "a graph that can be read", opened.unreadable))
    findings = list(dict.fromkeys(findings))
    kept = [finding for finding in findings if finding.code not in ignore]
    matched = {finding.code for finding in findings}
    for code in sorted(set(ignore) - matched):
        kept.append(report("OLX902", f"ignore={code!r}", "a finding of this code", "none"))
    return kept


def _reference(model: ModelLike | None) -> View | None:
    if model is None:
        return None
    opened = open_model(model)
    if opened.model is None:
        raise GraphError(f"the float model {opened.label}: {opened.unreadable}. Export it again.")
    return View(opened, opened.model)
