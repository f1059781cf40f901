"""Numbers with their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Accuracy:
    """Right answers, counted, of a candidate and of the variant it is compared with, on the same samples."""

    metric: str
    correct: int
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_correct: int
    only_reference: int
    only_candidate: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Score:
    """A metric's value of a candidate and of the variant it is compared with, on the same samples.

    Attributes:
        metric: its name.
        higher_is_better: False for an error.
        value: the candidate's, the mean over samples.
        total: samples.
        batch_size: samples per inference.
        data_sha256: the hash of the evaluation data.
        reference: the kind of the variant it is compared with; empty for none.
        reference_value: that one's value.
        relative_base: what a relative limit is a share of.
        loss_error: standard error of the mean loss against the reference, from the samples' differences; None where
            the metric gives no value for each sample.
    """

    metric: str
    higher_is_better: bool
    value: float
    total: int
    batch_size: int
    data_sha256: str
    reference: str
    reference_value: float | None
    relative_base: float
    loss_error: float | None

    def loss(self, other: float) -> float:
        """Return how much worse than another value the candidate's is."""
        return other - self.value if self.higher_is_better else self.value - other

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Elsewhere:
    """A candidate's answers on another processor, rated, or why there are none.

    Attributes:
        processor: the one that was asked for: `avx2`, `sse4` or `vnni`.
        place: what it was counted on, in words.
        runs_on: the kind of processor that it was counted on.
        emulated: whether that one was emulated.
        of: samples that there are; `rated.total` of them were counted.
        here: the candidate's right answers on this processor to the same samples, or its value.
        rated: its answers there beside the reference variant's, which ran here; None where it could not be run.
        seconds: how long it ran there, of `limit` seconds.
        limit: seconds that it had.
        cut: why not all samples were counted: `time` or `bytes`; empty where all were.
        problem: why it could not be run there; empty where it could.
    """

    processor: str
    place: str
    runs_on: str = ""
    emulated: bool = False
    of: int = 0
    here: float = 0.0
    rated: Accuracy | Score | None = None
    seconds: float = 0.0
    limit: float = 0.0
    cut: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Size:
    """Bytes of a candidate, and of the variant it was made from, where there is one.

    Attributes:
        bytes: of its file, and of the external data that it refers to.
        reference: the kind of the variant it was made from.
        reference_bytes: the same of that one.
        contents: what the bytes are: `weight_bytes` by dtype, `float_left`.
        waste: bytes of its files of external data that nothing refers to.
    """

    bytes: int
    reference: str | None
    reference_bytes: int | None
    contents: dict[str, Any]
    waste: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Time ratios of a candidate to a reference that ran between its rounds.

    Attributes:
        reference: `previous artefact`, or the variant that is the sibling: `onnx`.
        most: the ratio that is allowed.
        first: the candidate / reference ratio of each replicate of the first set: of a pair of fresh sessions, or of
            two such pairs where it matters which session was created first.
        second: the same of the independent second set; empty where the first raised no suspicion.
        self_check: the same of the reference against itself; empty where nothing hung on it.
    """

    reference: str
    most: float
    first: tuple[float, ...]
    second: tuple[float, ...] = ()
    self_check: tuple[float, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Time per inference of a candidate, alone and beside what it is compared with.

    Attributes:
        seconds: median time of one inference, a batch of `batch_size`.
        sessions: the same for each fresh session.
        rounds: blocks that were timed.
        iterations: inferences in a block.
        batch_size: samples per inference.
        threads: ONNX Runtime's intra-op threads.
        comparisons: by what for: `baseline` or `onnx`.
        duration: seconds that measuring took.
    """

    seconds: float
    sessions: tuple[float, ...]
    rounds: int
    iterations: int
    batch_size: int
    threads: int
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    duration: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Peak:
    """Peak resident bytes of a child process, above what it held before the model was loaded.

    Attributes:
        load: the peak while loading.
        run: the peak while running, what loading left behind included.
        settled: whether repeated measurements agree.
        node_bytes: what ONNX Runtime itself counts as allocated by nodes in one run: exact, and blind to
            all else; None where it does not count.
        nodes: the nodes that allocate most of it, with their bytes.
    """

    load: int
    run: int
    settled: bool
    node_bytes: int | None = None
    nodes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Memory:
    """Peaks of a candidate and of a reference that was measured in the same way.

    Attributes:
        method: how the child read its peak; figures of different methods are never compared.
    """

    candidate: Peak
    reference: Peak | None
    method: str
    reference_method: str | None
    batch_size: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Graph:
    """What the graph checks found, the signature, and the operators.

    Attributes:
        findings: as data.
        texts: as a person reads them.
        signature: inputs and outputs.
        operators: how often each occurs.
        quantization: which operators appeared and which went on the way from the float model; empty without one.
    """

    findings: tuple[dict[str, Any], ...]
    texts: tuple[str, ...]
    signature: dict[str, Any]
    operators: dict[str, int]
    quantization: dict[str, dict[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class GraphChanges:
    """How a graph differs from the last accepted release's.

    Attributes:
        signature: what changed of inputs and outputs, a text each.
        operators: `+1 Conv, -2 Relu`; empty for none.
    """

    signature: tuple[str, ...]
    operators: str
