from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blindai.errors import RequestCode, RequestError
from blindai.runtime.onnx import OnnxEngine
from blindai.wire.dtypes import BF16, BY_NAME, BYTES, FP32, INT64
from blindai.wire.tensors import Tensor
from tests import models
from tests.serving import SOURCES

SECRET = np.array([13.0, 37.0, 42.0, 99.0], dtype=np.float32)


@pytest.fixture(scope="module", params=[None, 0], ids=["from-bytes", "through-a-pipe"])
def engine(request):
    """Both ways by which a model gets in: small ones as bytes, large ones through a pipe."""
    return OnnxEngine() if request.param is None else OnnxEngine(large_bytes=request.param)


def refusal(engine: OnnxEngine, model: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        engine.load(model)
    return caught.value


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"BYTES", "BF16"}))
def test_every_numeric_type_goes_through_unchanged(engine, name):
    """What goes into an identity model comes out, bit for bit, with its type."""
    dtype = BY_NAME[name]
    array = np.array([0, 1, 1], dtype=dtype.numpy) if name == "BOOL" else np.arange(3).astype(dtype.numpy)
    model = engine.load(models.identity(name))
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("x", dtype, (-1,))]
    (output,) = model.run([Tensor("x", dtype, array)], ["y"])
    assert (output.name, output.dtype) == ("y", dtype)
    np.testing.assert_array_equal(output.array, array)


def test_bfloat16_goes_through_as_bit_patterns(engine):
    """BF16, which numpy does not have, goes in and comes out as uint16."""
    bits = np.array([1.5, -2, np.inf, 0], dtype=ml_dtypes.bfloat16).view(np.uint16)
    (output,) = engine.load(models.identity("BF16")).run([Tensor("x", BF16, bits)], ["y"])
    assert output.dtype == BF16
    np.testing.assert_array_equal(output.array, bits)
    (empty,) = engine.load(models.identity("BF16")).run([Tensor("x", BF16, bits[:0])], ["y"])
    assert empty.shape == (0,)


def test_bfloat16_beside_other_types(engine):
    """Outputs of other types are right when bfloat16 forces all of them through the other interface."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["half"], to=TensorProto.BFLOAT16),
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING),
        ],
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor_value_info("half", TensorProto.BFLOAT16, ["n"]),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("text", TensorProto.STRING, ["n"]),
        ],
    )
    model = engine.load(serialized(graph))
    x = np.array([1, 2], dtype=np.float32)
    same, half, text = model.run([Tensor("x", FP32, x)], ["same", "half", "text"])
    np.testing.assert_array_equal(same.array, x)
    np.testing.assert_array_equal(half.array.view(ml_dtypes.bfloat16).astype(np.float32), x)
    assert text.array.tolist() == [b"1", b"2"]


def test_strings_go_through_as_utf8(engine):
    """BYTES elements are text to the model and bytes again afterwards; NUL and empty ones survive."""
    elements = np.array(["", "a\0b", "é漢"], dtype=object)
    array = np.empty(3, dtype=object)
    array[:] = [text.encode() for text in elements]
    (output,) = engine.load(models.identity("BYTES")).run([Tensor("x", BYTES, array)], ["y"])
    assert output.array.tolist() == array.tolist()


def test_bytes_that_are_not_text_are_refused(engine):
    """A BYTES element that is not UTF-8 is the caller's error, and is not quoted."""
    array = np.empty(2, dtype=object)
    array[:] = [b"fine", b"\xff\xfeSECRET"]
    model = engine.load(models.identity("BYTES"))
    with pytest.raises(RequestError, match="element 1") as caught:
        model.run([Tensor("x", BYTES, array)], ["y"])
    assert caught.value.code == RequestCode.INPUT_DATA
    assert "SECRET" not in str(caught.value)


def test_an_input_at_an_odd_address(engine):
    """A read-only tensor that starts anywhere in a body is computed correctly."""
    body = b"x" + np.arange(4, dtype=np.float32).tobytes()
    array = np.frombuffer(memoryview(body)[1:], dtype=np.float32)
    (output,) = engine.load(models.identity()).run([Tensor("x", FP32, array)], ["y"])
    np.testing.assert_array_equal(output.array, [0, 1, 2, 3])


def test_only_the_outputs_asked_for_in_their_order(engine):
    """`run` returns the outputs named, in the order named."""
    model = engine.load(models.two_outputs())
    x = Tensor("x", FP32, np.array([-1, 2], dtype=np.float32))
    assert [output.name for output in model.run([x], ["positive", "doubled"])] == ["positive", "doubled"]
    (positive,) = model.run([x], ["positive"])
    assert positive.array.tolist() == [False, True]
    assert model.run([x], []) == ()


def test_dimensions_without_a_size_are_dynamic(engine):
    """Named and nameless dimensions read -1, fixed ones their size."""
    assert engine.load(models.dynamic_shapes()).inputs[0].shape == (-1, 3, -1, -1)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (b"", "cannot load"),
        (b"not onnx at all", "not an ONNX file"),
        (b"\x00" * 1000, "ONNX"),
        (models.identity()[:-5], "ONNX"),
        (models.unknown_operator(), "ONNX"),
        (models.sequence_output(), "seq(tensor(float))"),
    ],
    ids=["empty", "text", "zeros", "truncated", "unknown-operator", "sequence"],
)
def test_what_is_not_a_model_is_refused(engine, model, says):
    """Bytes that cannot be served are refused with a sentence of ours."""
    error = refusal(engine, model)
    assert error.code == RequestCode.MODEL_INVALID
    assert says in str(error)
    assert "ONNXRuntimeError" not in str(error)


def test_the_engine_s_own_words_are_not_passed_on(engine):
    """A model's node names, which onnxruntime quotes, stay out of the message and out of its chain."""
    error = refusal(engine, models.unknown_operator())
    assert "NoSuchOperator" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_failing_while_running(engine):
    """A model that fails on its inputs gives model-failed, without the values that it failed on."""
    model = engine.load(models.failing())
    with pytest.raises(RequestError) as caught:
        model.run([Tensor("index", INT64, np.array([31337]))], ["value"])
    assert caught.value.code == RequestCode.MODEL_FAILED
    assert "31337" not in str(caught.value)
    (value,) = model.run([Tensor("index", INT64, np.array([1]))], ["value"])
    assert value.array.tolist() == [11]


def test_running_out_of_memory(engine):
    """A model that asks for more memory than there is gives model-failed, and says that it was memory."""
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["size"], ["y"])],
        "huge",
        [helper.make_tensor_value_info("size", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = engine.load(serialized(graph))
    with pytest.raises(RequestError, match="memory") as caught:
        model.run([Tensor("size", INT64, np.array([2**45]))], ["y"])
    assert caught.value.code == RequestCode.MODEL_FAILED


def serialized(graph: onnx.GraphProto, *functions: onnx.FunctionProto) -> bytes:
    opsets = [helper.make_opsetid("", models.OPSET), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    return model.SerializeToString()


def external_weight(location: str) -> onnx.TensorProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return weight


def float4(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def external_weight_at(address: int) -> onnx.TensorProto:
    """Return a weight that lies at an address of the process that loads it, as onnxruntime writes it."""
    weight = external_weight("*/_ORT_MEM_ADDR_/*")
    weight.external_data.add(key="offset", value=str(address))
    weight.external_data.add(key="length", value=str(SECRET.nbytes))
    return weight


def in_initializer(weight: onnx.TensorProto) -> bytes:
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [float4("y")], [weight])
    return serialized(graph)


def in_constant(weight: onnx.TensorProto) -> bytes:
    constant = helper.make_node("Constant", [], ["y"], value=weight)
    return serialized(helper.make_graph([constant], "g", [], [float4("y")]))


def in_branch(weight: onnx.TensorProto) -> bytes:
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["z"])], "b", [], [float4("z")], [weight])
    condition = helper.make_node(
        "Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [1])
    )
    either = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return serialized(helper.make_graph([condition, either], "g", [], [float4("y")]))


def in_sparse_initializer(weight: onnx.TensorProto) -> bytes:
    sparse = onnx.SparseTensorProto(dims=[4])
    sparse.values.CopyFrom(weight)
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [4], [0, 1, 2, 3]))
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [float4("y")])
    graph.sparse_initializer.append(sparse)
    return serialized(graph)


def in_function(weight: onnx.TensorProto) -> bytes:
    body = [helper.make_node("Constant", [], ["y"], value=weight)]
    function = helper.make_function("own", "F", [], ["y"], body, [helper.make_opsetid("", models.OPSET)])
    call = helper.make_node("F", [], ["y"], domain="own")
    return serialized(helper.make_graph([call], "g", [], [float4("y")]), function)


HIDING_PLACES = [in_initializer, in_constant, in_branch, in_sparse_initializer, in_function]


@pytest.mark.parametrize(
    "location",
    [
        "secret.bin",
        "./secret.bin",
        "../{folder}/secret.bin",
        "/etc/hostname",
        "{descriptor}",
        "./{descriptor}",
    ],
)
@pytest.mark.parametrize("model", HIDING_PLACES)
def test_external_data_are_never_read(engine, model, location, tmp_path: Path, monkeypatch):
    """Wherever a model hides a reference to a file, it is refused; onnxruntime alone reads some of them.

    The path of a streamed model lies in the folder of the process's open files: those are not read either.
    """
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "secret.bin").open("rb") as secret:
        named = location.format(
            folder=tmp_path.name, descriptor=secret.fileno(), path=tmp_path / "secret.bin"
        )
        error = refusal(engine, model(external_weight(named)))
    assert error.code == RequestCode.MODEL_INVALID
    assert "external data" in str(error)
    assert "secret.bin" not in str(error)


@pytest.mark.parametrize("model", HIDING_PLACES)
def test_the_server_s_memory_is_never_read(engine, model):
    """A model that calls an address of the process its weights, in onnxruntime's own notation, is refused."""
    weight = external_weight("*/_ORT_MEM_ADDR_/*")
    weight.external_data.add(key="offset", value=str(SECRET.ctypes.data))
    weight.external_data.add(key="length", value=str(SECRET.nbytes))
    assert refusal(engine, model(weight)).code == RequestCode.MODEL_INVALID


def test_a_model_s_own_session_settings_are_not_used(tmp_path: Path, monkeypatch):
    """A model cannot switch on profiling, which writes files, by the settings that it carries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    proto = onnx.load_from_string(models.identity())
    proto.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')
    model = OnnxEngine().load(proto.SerializeToString())
    model.run([Tensor("x", FP32, np.zeros(1, dtype=np.float32))], ["y"])
    model.close()
    assert list(tmp_path.iterdir()) == []


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, "PYTHONPATH": str(SOURCES), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_telemetry_is_off_before_the_import():
    """The engine sets the variable itself, before it imports onnxruntime."""
    result = run_python(
        "import sys, os\n"
        "from blindai.runtime.onnx import OnnxEngine\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "OnnxEngine()\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert (result.returncode, result.stdout.strip()) == (0, "1"), result.stderr


def test_an_import_with_telemetry_on_is_refused():
    """If someone imported onnxruntime before, without the variable, the engine does not start."""
    result = run_python(
        "import sys, types\n"
        "sys.modules['onnxruntime'] = types.ModuleType('onnxruntime')\n"  # the real one would phone home
        "from blindai.errors import UsageError\n"
        "from blindai.runtime.onnx import OnnxEngine\n"
        "try: OnnxEngine()\n"
        "except UsageError as exc: print(exc.hint)"
    )
    assert "ORT_DISABLE_TELEMETRY=1" in result.stdout, result.stderr


def test_nothing_is_printed():
    """Neither refused models nor failing runs make onnxruntime write to the terminal."""
    program = (
        "import numpy as np\n"
        "from tests import models\n"
        "from blindai.errors import RequestError\n"
        "from blindai.runtime.onnx import OnnxEngine\n"
        "from blindai.wire.dtypes import INT64\n"
        "from blindai.wire.tensors import Tensor\n"
        "engine = OnnxEngine()\n"
        "for model in (b'no', models.unknown_operator(), models.with_external_data('x')):\n"
        "    try: engine.load(model)\n"
        "    except RequestError: pass\n"
        "try: engine.load(models.failing()).run([Tensor('index', INT64, np.array([9]))], ['value'])\n"
        "except RequestError: pass\n"
    )
    result = run_python(program, PYTHONPATH=f"{SOURCES}{os.pathsep}{SOURCES.parent}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_name_that_is_not_text_is_refused(engine):
    """ONNX files may hold any bytes as a name; the refusal is ours, not Python's."""
    model = onnx.load_from_string(models.identity())
    text = model.SerializeToString().replace(b"x", b"\xff")
    assert refusal(engine, text).code == RequestCode.MODEL_INVALID
