"""Every rule of a sound quantized graph: its code, how bad a breach is, why it matters and what to do.

Codes are stable: one is never reused for another rule. The first digit is the family: 1 structure, 2 inputs
and outputs, 3 quantization parameters, 4 the dynamic pattern, 5 the QDQ pattern, 6 coverage and size,
7 likeness to the float model, 8 the whole graph next to the float model's, 9 the call itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """What a graph must fulfil.

    Attributes:
        code: stable, such as `OLX301`.
        severity: of a breach, unless the check knows better.
        title: the rule, in a few words.
        why: why a breach matters.
        hint: what to do about one.
    """

    code: str
    severity: Literal["error", "warning", "info"]
    title: str
    why: str
    hint: str


_QUANTIZE_AGAIN = "quantize the float model again, and do not edit the result"
_COMPARE = "compare both models at this place, and quantize the float model again"
_RULES = (
    # Structure
    Rule("OLX101", "error", "onnx.checker accepts the model",
         "runtimes may refuse the model, or read it in different ways",
         "export it again; the message above is the checker's"),
    Rule("OLX102", "error", "types and shapes fit together",
         "a node receives a type or shape that its operator does not support, or declares another one than it "
         "produces",
         "export or quantize again; look at the node named and at what feeds it"),
    Rule("OLX103", "error", "each name is produced once",
         "if two tensors share a name, it depends on the tool which one is read",
         "give each tensor its own name; merging two models needs a prefix (onnx.compose.add_prefix)"),
    Rule("OLX104", "error", "each name is produced before it is used",
         "a runtime may refuse the order, and a name that nothing produces cannot be computed",
         "sort the nodes (onnx_ir: model.graph.sort()), or produce the missing tensor"),
    Rule("OLX105", "error", "every initializer is used",
         "unused bytes are shipped and loaded; a float weight next to its INT8 copy cancels what quantization "
         "saves",
         "remove it (onnx_ir.passes.common.RemoveUnusedNodesPass does)"),
    Rule("OLX106", "warning", "every node reaches an output",
         "its result is never used, or the node that should use it reads something else",
         "remove it (onnx_ir.passes.common.RemoveUnusedNodesPass does), or connect it"),
    Rule("OLX107", "error", "node names are unique",
         "ONNX Runtime refuses the model; an exclusion or a profile that names the node could mean either one",
         "rename one of them before quantizing"),
    Rule("OLX108", "error", "every operator domain used is imported",
         "without a version the operator is not defined",
         "add the domain to opset_import"),
    Rule("OLX109", "error", "each domain is imported in one version",
         "it depends on the tool which of the versions is used",
         "keep one entry for the domain in opset_import"),
    Rule("OLX110", "warning", "every imported domain is used",
         "a runtime that does not know the domain refuses the model, although no node needs it",
         "remove the import (onnx_ir.passes.common.RemoveUnusedOpsetsPass does)"),
    Rule("OLX111", "error", "the opset supports the quantization operators used",
         "the imported version does not have the operator in this form: axis came with opset 13, blocks and 4 bits "
         "with 21",
         "convert the float model to the newer opset with onnx.version_converter, then quantize it"),
    Rule("OLX112", "error", "each node fits the imported opset",
         "the opset number was changed without converting the model: the node is read by rules that it was not "
         "written for",
         "convert with onnx.version_converter instead of editing opset_import"),
    Rule("OLX113", "error", "metadata of the float model is kept",
         "programs read labels, alphabets and preprocessing constants from it",
         "copy metadata_props from the float model after quantizing"),
    Rule("OLX114", "warning", "the doc string of the float model is kept",
         "it says what the model is and under which licence it may be used",
         "copy doc_string from the float model after quantizing"),
    Rule("OLX115", "error", "the float model is not quantized",
         "quantizing twice adds both errors, and a comparison with a quantized model says nothing about the float "
         "one",
         "pass the model as it was before quantization"),
    Rule("OLX116", "error", "each tensor holds as many values as its shape says",
         "the weight cannot be read, or is read wrongly",
         "save the model again with the library that made it"),
    Rule("OLX117", "error", "no operator is made for one kind of processor",
         "ONNX Runtime lays tensors out for the processor at hand when it optimizes a graph: on another kind of "
         "processor, or with another runtime, the file fails to load or is slow",
         "ship the model as it was before, and let ONNX Runtime optimize it where it runs; to save an optimized "
         "file, use ORT_ENABLE_EXTENDED"),
    Rule("OLX118", "warning", "no operator draws random numbers",
         "two runs on the same inputs give different outputs, so that no figure of the model can be measured twice",
         "export the model without its random layers, take the noise from an input, or ignore the code if it is meant"),
    Rule("OLX119", "error", "no node is in training mode",
         "a BatchNormalization that trains normalizes by the statistics of the batch at hand, a Dropout that trains drops "
         "values by chance: answers depend on the other samples of a batch, or change from run to run",
         "export the model in inference mode: model.eval() and training=TrainingMode.EVAL in PyTorch, training=False in "
         "Keras"),
    # Inputs and outputs
    Rule("OLX201", "error", "inputs and outputs keep their names",
         "programs pass inputs and fetch outputs by name",
         "rename them back; match outputs of a conversion by name and shape"),
    Rule("OLX202", "error", "inputs and outputs keep their order",
         "programs that use positions get another tensor",
         "put them back in order"),
    Rule("OLX203", "error", "inputs and outputs keep their dtype",
         "programs pass arrays of the dtype that they always passed, and the runtime refuses any other",
         "keep quantization inside the graph, between float inputs and outputs"),
    Rule("OLX204", "error", "inputs and outputs keep their rank",
         "programs pass and unpack arrays of that rank",
         "restore the shape in the graph's inputs and outputs; if it is the float model that declares another one than it "
         "gives, correct it there"),
    Rule("OLX205", "error", "fixed dims keep their size",
         "arrays of the size that always worked are refused",
         "export with the shapes of the float model"),
    Rule("OLX206", "error", "dynamic dims stay dynamic",
         "with a fixed batch dim every other batch size is refused",
         "export with dim 0 left dynamic; quantize without fixing shapes"),
    Rule("OLX207", "error", "fixed dims stay fixed",
         "programs and runtimes can no longer rely on the size",
         "export with the shapes of the float model"),
    Rule("OLX208", "error", "dims that were equal stay equal, and different ones stay different",
         "the names of dynamic dims say which sizes are the same, such as the batch size of all inputs and outputs",
         "name the dynamic dims as in the float model"),
    # Quantization parameters
    Rule("OLX301", "error", "scales are finite",
         "NaN or infinity reaches every output of the node",
         f"{_QUANTIZE_AGAIN}; look for NaN in the weights or in the calibration data"),
    Rule("OLX302", "error", "scales are above zero",
         "scale zero makes every value zero, and a negative scale flips the sign",
         _QUANTIZE_AGAIN),
    Rule("OLX303", "error", "scales are not denormal",
         "denormal numbers are slow and imprecise, and some processors treat them as zero",
         "leave the node in float, or rescale its weights and the next node's"),
    Rule("OLX304", "error", "scales are of shape [], [1] or [channels]",
         "the scale is applied to other values than intended, or the runtime refuses the node",
         _QUANTIZE_AGAIN),
    Rule("OLX305", "error", "a zero point has the dtype of its tensor",
         "the same bytes mean other numbers: 200 as uint8 is -56 as int8",
         "store the zero point in the tensor's dtype"),
    Rule("OLX306", "error", "a zero point has the shape of its scale",
         "channels are shifted by another channel's zero point, or the runtime refuses the node",
         _QUANTIZE_AGAIN),
    Rule("OLX307", "warning", "int8 weights are symmetric",
         "fast kernels and accelerators support int8 weights with zero point 0 only, and others have to compute a "
         "correction",
         "quantize int8 weights with WeightSymmetric=True, or use uint8 weights"),
    Rule("OLX308", "warning", "symmetric int8 weights do not use -128",
         "symmetric weights lie in -127..127; -128 has no opposite, and kernels that negate it overflow",
         "clip to -127..127 when quantizing"),
    Rule("OLX309", "error", "per-channel parameters lie along the output channel",
         "kernels apply them along the output channel (Conv 0, ConvTranspose 1, Gemm by transB, MatMul last): with "
         "another axis the result is wrong, or the node runs in float",
         "quantize per channel along the operator's output channel"),
    Rule("OLX310", "error", "a per-channel scale has one entry per channel",
         "scales are missing or belong to other channels; the runtime refuses the node, or the result is wrong",
         _QUANTIZE_AGAIN),
    Rule("OLX311", "error", "per-channel MatMulInteger or QLinearMatMul has 2-D weights",
         "for a stack of matrices one scale for each channel is not defined, and runtimes refuse it",
         "quantize this node per tensor, or leave it in float"),
    Rule("OLX312", "warning", "weights use the range of their type",
         "each time the used range is halved, one bit of precision is lost; an outlier in another channel is the "
         "usual reason",
         "quantize per channel, or look for an outlier in the float weight"),
    Rule("OLX321", "error", "a quantized bias is int32",
         "it is added to int32 sums; fewer bits saturate",
         "let the quantizer quantize the bias, or leave it in float"),
    Rule("OLX322", "error", "a quantized bias has zero point 0",
         "kernels add it to the sums as it is and ignore a zero point",
         _QUANTIZE_AGAIN),
    Rule("OLX323", "error", "the scale of a bias is input scale × weight scale",
         "kernels add the integers directly and ignore the scale that is stored: the bias is off by the ratio of "
         "the two",
         _QUANTIZE_AGAIN),
    Rule("OLX324", "error", "a quantized bias is not saturated",
         "the bias does not fit into int32, so every output of the channel is shifted",
         "leave the node in float: its input or weight scale is too small for its bias"),
    Rule("OLX325", "warning", "activation scales come from real calibration data",
         "calibration writes scale 1 and zero point 0 for a tensor if it saw only zeros, or no data: values are "
         "then rounded to whole numbers. An error if all activations have them",
         "calibrate with data like that in production, and check that the data reader returns samples"),
    Rule("OLX326", "error", "initializers hold no NaN",
         "NaN spreads to every output that depends on it",
         "find where it came from in training or export"),
    Rule("OLX327", "error", "weights hold no infinity",
         "infinity times zero is NaN, and a range with infinity in it cannot be quantized",
         "find where it came from in training or export"),
    Rule("OLX328", "error", "a weight that is not zero in float is not zero throughout",
         "nothing of the weight is left: the node gives the same for every input",
         "quantize the float model again, and look for an outlier or an infinity in the weight"),
    # Half precision and blocks
    Rule("OLX331", "error", "half precision holds each value of the float model",
         "its largest number is 65,504: what is larger becomes that, or infinity",
         "keep in float32 what reads it, with Float16(keep=[...]), or scale it in the float model. A warning where all such "
         "values are of 1e9 or more, which stand for infinity in masks"),
    Rule("OLX332", "error", "half precision tells each tensor of the float model from zero",
         "numbers below 6e-8 become zero, and below 6e-5 they have ever fewer digits: of a tensor of such numbers nothing is left",
         "keep in float32 what reads it, with Float16(keep=[...]), or scale it in the float model"),
    Rule("OLX333", "error", "what is kept in float32 is given float32",
         "the node is named as kept, and computes in half precision all the same",
         "convert the float model again with Float16(keep=[...]); the Cast in front of the node is missing"),
    Rule("OLX334", "warning", "no value is cast to half precision and back",
         "between two nodes in float32 it loses precision, and overflows beyond 65,504, for nothing",
         "let the second node read the value as it was before the two casts"),
    Rule("OLX341", "error", "weights in blocks are of the size that bits and block size ask for",
         "the runtime refuses the node, or reads weights, scales or zero points of other blocks",
         "quantize the float model again, and do not edit the result"),
    Rule("OLX342", "error", "blocks are of a size that runtimes support",
         "ONNX Runtime takes weights of 2, 4 or 8 bits in blocks of 16, 32, 64, 128 or 256",
         "quantize the float model again with such a block size"),
    # Dynamic pattern
    Rule("OLX401", "error", "an activation's integers and parameters come from one DynamicQuantizeLinear",
         "the integers are read with the scale or zero point of another tensor",
         _QUANTIZE_AGAIN),
    Rule("OLX402", "warning", "an activation is quantized once",
         "the same tensor is quantized again for each reader, which costs time",
         "let the readers share one DynamicQuantizeLinear"),
    Rule("OLX403", "error", "an integer product is cast to FLOAT",
         "float16 holds integers up to 2048 exactly and overflows at 65504; products of INT8 go far beyond",
         _QUANTIZE_AGAIN),
    Rule("OLX404", "error", "an integer product is multiplied by both scales",
         "without both the output is off by a constant factor",
         _QUANTIZE_AGAIN),
    Rule("OLX405", "error", "an integer product is multiplied by its own scales",
         "with another tensor's scale the output is off by the ratio of the two",
         _QUANTIZE_AGAIN),
    Rule("OLX406", "warning", "weights are of a type that the runtime has a fast kernel for",
         "ConvInteger with int8 weights has no CPU kernel before ONNX Runtime 1.24 and is slow after",
         "quantize with weight_type=QuantType.QUInt8 where the model has convolutions"),
    Rule("OLX407", "warning", "only computed float tensors are quantized dynamically",
         "a constant, or a tensor that was just dequantized, is quantized again in each run",
         "fold constants before quantizing, and quantize the float model"),
    # QDQ pattern
    Rule("OLX501", "error", "QuantizeLinear and DequantizeLinear of a pair share their parameters",
         "the values that are read are not those that were written: the tensor is scaled or shifted",
         _QUANTIZE_AGAIN),
    Rule("OLX502", "warning", "a tensor is quantized and dequantized once",
         "the second pair only costs time, and prevents runtimes from fusing the first",
         "remove the second pair"),
    Rule("OLX503", "error", "a quantized operator has DequantizeLinear on all its float data inputs",
         "without it the runtime silently runs the operator in float",
         f"{_QUANTIZE_AGAIN}, or exclude the node so that it is float as a whole"),
    Rule("OLX504", "warning", "operators that only move values keep their parameters",
         "MaxPool, Reshape and Transpose only move values: with other parameters behind them values are rounded "
         "twice",
         "give both sides the same scale and zero point"),
    Rule("OLX505", "error", "where a Relu or Clip was removed, the range of the integers clips instead",
         "the quantizer removes such a node if the range of the integers clips in its place: with another range, "
         "values pass that the float model clips",
         "calibrate with data for which the node's output is not zero, or keep the node with ActivationSymmetric"),
    # Coverage and size
    Rule("OLX601", "error", "no float weight feeds a quantizable operator",
         "the operator runs in float, and a weight that is stored in float is four times as large as intended",
         "quantize it, or name the node in excluded= to say that it stays float on purpose; pre-process the model first "
         "if its weight is transposed or reshaped in the graph"),
    Rule("OLX602", "warning", "large float weights of other operators are intended",
         "they keep their full size",
         "if that is intended, name the operator in excluded= or the code in ignore="),
    Rule("OLX604", "warning", "weights are a quarter of the float model's, plus parameters",
         "there are more bytes than quantization explains: weights stored twice, or more tensors in float than "
         "expected",
         "compare summarize() of both models"),
    Rule("OLX605", "error", "external data lies in the model's folder",
         "a model must not read files outside its folder, and without its data it cannot be loaded",
         "ship the data next to the model; save again with onnx.save(..., save_as_external_data=True)"),
    Rule("OLX606", "error", "external ranges lie inside their file",
         "the file was cut off or belongs to another model",
         "copy the data file again, or save the model again"),
    Rule("OLX607", "error", "external ranges do not overlap",
         "two tensors share bytes, so at least one of them is wrong",
         "save the model again"),
    Rule("OLX608", "warning", "external files hold nothing but tensors",
         "bytes that belong to no tensor are shipped for nothing; writing to an existing data file appends to it",
         "delete the data file before saving the model again"),
    Rule("OLX609", "error", "excluded nodes are left in float",
         "the node is quantized although it should stay float",
         "check the names passed as nodes_to_exclude: the quantizer ignores names it does not know"),
    Rule("OLX610", "warning", "no operator is new, except those of quantization",
         "the models differ by more than quantization",
         "compare with the model that was quantized, after its pre-processing"),
    Rule("OLX611", "warning", "products do not saturate on CPUs without VNNI",
         "x86 without VNNI adds pairs of uint8 × int8 products in 16 bits: large sums are clipped there, and the "
         "model gives other answers than on the machine where it was tested",
         "quantize with reduce_range=True, or use uint8 weights, or ship to machines with VNNI or to ARM only"),
    Rule("OLX612", "error", "no large weight of a model in half precision is in float32",
         "it is stored in twice the bytes, and its node runs in float32",
         "convert it too, or name the node in excluded= to say that it stays in float32 on purpose"),
    # Likeness to the float model
    Rule("OLX701", "error", "each weight is within half a step of its float value",
         "the scale, zero point or integers are not those of this weight",
         _QUANTIZE_AGAIN),
    Rule("OLX702", "error", "tensors left in float equal the float model's",
         "the models come from different trainings or exports",
         "quantize the float model that is shipped with it"),
    Rule("OLX703", "error", "each bias is within half a step of its float value",
         "the outputs of the channel are shifted",
         _QUANTIZE_AGAIN),
    # The float model, dequantized
    Rule("OLX801", "error", "each operator of the float model is there",
         "the model computes something else, which evaluation data may not show",
         _COMPARE),
    Rule("OLX802", "error", "no operator is added",
         "the model computes something else, which evaluation data may not show",
         _COMPARE),
    Rule("OLX803", "error", "attributes are the float model's",
         "the operator computes something else",
         _COMPARE),
    Rule("OLX804", "error", "each node reads what it reads in the float model",
         "it computes with another tensor",
         _COMPARE),
    Rule("OLX805", "error", "constants are the float model's, under whatever name",
         "limits, shapes, epsilons and normalizations decide on the answers as weights do",
         _COMPARE),
    Rule("OLX806", "error", "each input reaches the outputs that it reaches in the float model",
         "what callers pass there has no effect any more, or cannot be passed",
         "restore the input and what reads it; evaluation data that never uses it does not show this"),
    Rule("OLX807", "error", "each output is computed from the tensor that it is computed from in the float model",
         "callers get another tensor under this name",
         _COMPARE),
    Rule("OLX808", "info", "each node can be compared with the float model's",
         "what an optimizer has fused, or has computed beforehand, cannot be compared: a change there would not be seen",
         "quantize before optimizing, or compare the outputs of both models"),
    Rule("OLX809", "info", "each weight can be compared with the float model's",
         "a change of these weights would not be seen",
         "quantize before optimizing, or compare the outputs of both models"),
    # The call
    Rule("OLX901", "error", "each exclusion matches a node",
         "a node that should stay float may be quantized, or no longer exists",
         "correct the name, or remove it from excluded="),
    Rule("OLX902", "error", "each ignored code matches a finding",
         "an outdated exception hides the next fault of that kind",
         "remove the code from ignore="),
)  # fmt: skip
RULES: dict[str, Rule] = {rule.code: rule for rule in _RULES}
"""Every rule by its code."""
