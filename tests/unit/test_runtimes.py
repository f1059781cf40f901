"""A runtime: what it takes, what it refuses, how it is written down and read back, and the session that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
import pytest

from pytest_onnxlite import ModelSpec, OnnxliteError, Runtime
from pytest_onnxlite.baseline.fingerprint import describe_machine, fingerprint
from pytest_onnxlite.baseline.runtime import machine_here, runtime_change, runtime_here
from pytest_onnxlite.baseline.shipped import ShippedRuntime
from pytest_onnxlite.kinds import KINDS
from pytest_onnxlite.runtime.sessions import NoProvider, _advice, open_session, require_providers

from onnx_models import dense

OPENVINO = "OpenVINOExecutionProvider"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "libcustom.so"
    path.write_bytes(b"a library")
    return path


def full(library: Path) -> Runtime:
    return Runtime(
        threads=2,
        inter_op_threads=3,
        providers=[OPENVINO, "CPUExecutionProvider"],
        provider_options={OPENVINO: {"device_type": "CPU", "num_of_threads": 2}},
        optimization="basic",
        session_options={
            "execution_mode": "parallel",
            "enable_mem_pattern": False,
            "session.intra_op.allow_spinning": True,
            "session.intra_op_thread_affinities": "1,2;3,4",
        },
        custom_ops=[library],
    )


def test_a_runtime_survives_being_written_down_and_sent(library: Path) -> None:
    runtime = full(library)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(runtime), type=Runtime) == runtime
    assert Runtime(custom_ops=[library]).restored(", ".join(runtime.providers), runtime.options()) == runtime
    assert runtime.options()["session.intra_op.allow_spinning"] == "1"
    assert runtime.options()["enable_mem_pattern"] == "False"
    # What ONNX Runtime does by itself is no difference: the CPU takes what is left.
    assert runtime == msgspec.structs.replace(runtime, providers=[OPENVINO])
    assert not runtime.is_plain


@pytest.mark.parametrize(
    ("runtime", "has_one"),
    [
        (Runtime(), True),
        (Runtime(threads=2), False),
        (Runtime(inter_op_threads=2, session_options={"execution_mode": "parallel"}), False),
        # How many threads a provider starts is its own affair.
        (Runtime(providers=[OPENVINO]), False),
    ],
)
def test_whether_a_session_has_one_thread(runtime: Runtime, has_one: bool) -> None:
    assert runtime.has_one_thread is has_one


def test_a_default_runtime_is_written_as_before() -> None:
    assert Runtime(threads=4).options() == {"threads": "4"}
    assert Runtime(threads=4).is_plain
    assert Runtime(session_options={}, providers=["CPUExecutionProvider"]).is_plain
    here = runtime_here(KINDS["onnx"], Runtime(threads=4))
    assert here is not None
    assert here.provider == "CPUExecutionProvider"
    assert machine_here(here) == describe_machine()
    assert "options" not in msgspec.to_builtins(machine_here(here))
    # LiteRT reads the threads alone.
    lite = runtime_here(KINDS["tflite"], Runtime(threads=4, optimization="basic"))
    assert lite is not None
    assert lite.options == {"threads": "4"}


def test_another_library_is_another_runtime(library: Path) -> None:
    before = Runtime(custom_ops=[library]).options()["custom_ops"]
    library.write_bytes(b"another library")
    now = Runtime(custom_ops=[library]).options()["custom_ops"]
    assert before.startswith("libcustom.so ")
    assert now.startswith("libcustom.so ")
    assert before != now


def test_figures_of_another_runtime_have_a_key_of_their_own(library: Path) -> None:
    def key(runtime: Runtime) -> str:
        return fingerprint(machine_here(runtime_here(KINDS["onnx"], runtime)))

    others = [
        Runtime(providers=[OPENVINO]),
        Runtime(optimization="none"),
        Runtime(session_options={"enable_cpu_mem_arena": False}),
        Runtime(custom_ops=[library]),
    ]
    assert len({key(runtime) for runtime in [Runtime(), *others]}) == 5
    assert key(Runtime(threads=2)) == key(Runtime())  # figures keep their threads themselves


def test_a_change_names_what_changed_from_the_default() -> None:
    plain = ShippedRuntime("onnxruntime", "1.24.1", "CPUExecutionProvider", {"threads": "1"})
    other = ShippedRuntime(
        "onnxruntime", "1.24.1", OPENVINO, {"threads": "1", "optimization": "basic"}, "onnxruntime-openvino"
    )
    assert runtime_change(plain, other) == (
        f"onnxruntime 1.24.1 → onnxruntime-openvino 1.24.1, provider CPUExecutionProvider → {OPENVINO}, "
        "optimization all → basic"
    )
    assert "optimization basic → all" in runtime_change(other, plain)
    # An early version wrote no options.
    assert runtime_change(ShippedRuntime("onnxruntime", "1.24.1", "CPUExecutionProvider"), plain) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"threads": 0}, "threads=0): expected a whole number from 1"),
        ({"inter_op_threads": True}, "inter_op_threads=True"),
        ({"inter_op_threads": 2}, "ONNX Runtime uses them only if operators run in parallel"),
        ({"optimization": "ALL"}, "expected one of all, extended, basic, none"),
        ({"providers": OPENVINO}, "expected a list of texts"),
        ({"providers": []}, "expected at least one"),
        ({"providers": [OPENVINO, OPENVINO]}, "each once"),
        ({"providers": [1]}, "expected a list of texts, found 1"),
        ({"provider_options": {OPENVINO: {}}}, "unknown provider 'OpenVINOExecutionProvider'"),
        ({"providers": [OPENVINO], "provider_options": {OPENVINO: {"x": True}}}, "x=True; expected a text or a number"),
        ({"session_options": {"enable_mem_patern": False}}, "did you mean enable_mem_pattern?"),
        ({"session_options": {"enable_mem_pattern": "no"}}, "expected True or False"),
        ({"session_options": {"execution_mode": "both"}}, "expected sequential or parallel"),
        ({"session_options": {"profile_file_prefix": "x"}}, "unknown option 'profile_file_prefix'"),
        ({"session_options": {"a.b": None}}, "expected a text, a number, True or False"),
        ({"custom_ops": ["libnone.so"]}, "there is no such file"),
        ({"custom_ops": ["no_such_module_of_ours"]}, "no module of that name that says where its library is"),
        ({"custom_ops": ["json"]}, "no module of that name that says where its library is"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(OnnxliteError) as caught:
        Runtime(**arguments)
    assert said in str(caught.value)


def test_threads_are_said_in_one_place(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 1)
    assert ModelSpec("m", onnx=path, threads=3).runtime == Runtime(threads=3)
    assert ModelSpec("m", onnx=path, runtime=Runtime(threads=3)).threads == 3
    both = ModelSpec("m", onnx=path, threads=3, runtime=Runtime(optimization="basic"))
    assert both.runtime == Runtime(threads=3, optimization="basic")
    with pytest.raises(OnnxliteError, match=r"threads=3 and runtime=Runtime\(threads=2\); say it in one place"):
        ModelSpec("m", onnx=path, threads=3, runtime=Runtime(threads=2))
    with pytest.raises(OnnxliteError, match="runtime is a dict"):
        ModelSpec("m", onnx=path, runtime={"threads": 2})  # type: ignore[arg-type]


def test_a_table_replaces_what_it_names(library: Path) -> None:
    own = Runtime(threads=4, providers=[OPENVINO], provider_options={OPENVINO: {"device_type": "CPU"}})
    found = own.with_fields({"providers": ["CPUExecutionProvider"], "custom_ops": [library.name]}, library.parent)
    assert found == Runtime(threads=4, custom_ops=[library])
    with pytest.raises(OnnxliteError, match="did you mean optimization"):
        own.with_fields({"optimisation": "basic"})


def test_a_session_is_opened_as_the_runtime_says(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 1)
    options = open_session(path, Runtime()).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    runtime = Runtime(
        threads=2,
        inter_op_threads=3,
        optimization="none",
        session_options={
            "execution_mode": "parallel",
            "enable_cpu_mem_arena": False,
            "session.intra_op.allow_spinning": True,
        },
    )
    options = open_session(path, runtime).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 3)
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert not options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_a_provider_that_is_not_there_opens_no_session(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 1)
    with pytest.raises(NoProvider, match="NoneExecutionProvider was asked for, and the ONNX Runtime that is installed"):
        open_session(path, Runtime(providers=["NoneExecutionProvider"]))
    require_providers(Runtime(), ["CPUExecutionProvider"])
    # Two packages of one module are the usual reason.
    assert "onnxruntime and onnxruntime-openvino are both installed" in _advice(["onnxruntime", "onnxruntime-openvino"])
    assert "such as onnxruntime-gpu" in _advice(["onnxruntime"])
