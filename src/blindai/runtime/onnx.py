"""The ONNX Runtime engine, on the CPU.

Rules of this file: onnxruntime is imported here and nowhere else, and none of its messages leaves it: they
quote node names, paths and values of the data.

onnxruntime 1.31 sends telemetry unless ORT_DISABLE_TELEMETRY=1 is in the environment before it is imported
(`disable_telemetry_events()` afterwards comes too late: files and sockets still appear).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from blindai.errors import RequestCode, RequestError, UsageError
from blindai.runtime import heap, model_stream
from blindai.runtime.model_bytes import ModelBytes
from blindai.wire import bundle
from blindai.wire.dtypes import BF16, BY_NAME, BY_ONNX, BYTES, DType
from blindai.wire.metadata import DYNAMIC, TensorSpec
from blindai.wire.names import shown
from blindai.wire.tensors import Tensor

TELEMETRY_VARIABLE: Final = "ORT_DISABLE_TELEMETRY"
PLATFORM: Final = "onnx_onnxruntime"

# With it, a model brings session settings along, such as profiling, which writes files.
_MODEL_SETTINGS_VARIABLE = "ORT_LOAD_CONFIG_FROM_MODEL"

_LOG_FATAL_ONLY = 4
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16

# Weights outside the model would be read from this folder. /dev/null is no directory, so nothing can ever
# lie in it. Without this, a model given as bytes reads files that the uploader names: measured with
# onnxruntime 1.31.1, initializers of If and Loop bodies from the working directory, sparse ones from any
# relative path, and the model's output carries them away.
_NO_FOLDER = "/dev/null/none"

# Below this, copies cost less than what spares them.
LARGE_BYTES: Final = 8 * 1024 * 1024


class OnnxEngine:
    """Loads ONNX models. Each runs its operators on `threads` threads per call.

    Models of `large_bytes` and more are streamed, unless they could name files.
    """

    def __init__(self, *, threads: int = 1, large_bytes: int = LARGE_BYTES) -> None:
        self._runtime = import_onnxruntime()
        self._threads = threads
        self._large_bytes = large_bytes
        self._streams = model_stream.can_stream()

    @property
    def description(self) -> str:
        """Name and version, for receipts."""
        return f"onnxruntime {self._runtime.__version__}"

    def load(self, model: bytes | ModelBytes) -> OnnxModel:
        """Return the model, an ONNX file or a bundle of one, or raise RequestError (model-invalid)."""
        is_large = len(model) >= self._large_bytes
        try:
            return OnnxModel(self._runtime, self._session(model), is_large=is_large)
        except RequestError:
            raise
        except OSError:  # no descriptors left for a pipe: that is not the model's fault
            raise RequestError(RequestCode.BUSY, "the server cannot load a model now: try again") from None
        except Exception as exc:  # noqa: BLE001 - the boundary: onnxruntime's errors share no other base
            raise RequestError(RequestCode.MODEL_INVALID, _why_not_loaded(exc)) from None
        finally:
            if isinstance(model, ModelBytes):
                model.close()
            if is_large:
                heap.trim()

    def _session(self, model: bytes | ModelBytes) -> Any:
        view = model.view if isinstance(model, ModelBytes) else memoryview(model)
        if bundle.is_bundle(view):
            return self._session_of_bundle(view)
        if self._streams and len(view) >= self._large_bytes and model_stream.names_no_file(view):
            pieces = model.drain() if isinstance(model, ModelBytes) else [view]
            with model_stream.streamed(pieces) as path:
                return self._start(path)
        whole = model if isinstance(model, bytes) else bytes(view)
        if isinstance(model, ModelBytes):
            model.close()  # onnxruntime makes two more copies
        return self._start(whole)

    def _session_of_bundle(self, view: memoryview) -> Any:
        """Start a model whose weights lie in other files of its bundle: it can name no others.

        onnxruntime copies each weight when it comes upon it, so the bundle is not needed afterwards.
        """
        try:
            model, *weights = bundle.read(view.toreadonly())
        except ValueError as exc:
            raise RequestError(
                RequestCode.MODEL_INVALID, f"the model bundle is not well formed: {exc}"
            ) from None
        files = [(file.name, file.content) for file in weights]
        return self._start(bytes(model.content), files)

    def _start(self, model: str | bytes, files: Sequence[tuple[str, memoryview]] = ()) -> Any:
        """Return a session of the model in these bytes, or at this path."""
        options = self._options()
        if files:
            names, contents = zip(*files, strict=True)
            lengths = [len(content) for content in contents]
            options.add_external_initializers_from_files_in_memory(names, contents, lengths)
        session = self._runtime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=0, read_config_from_model=0
        )
        session._model_bytes = None  # noqa: SLF001 - kept for a fallback to other providers; there are none
        return session

    def _options(self) -> Any:
        options = self._runtime.SessionOptions()
        options.log_severity_level = _LOG_FATAL_ONLY
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # ORT's own flatbuffer format is recognised by default; it is a second parser that nobody needs here.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
        # The bundle's memory is freed once the session stands: its weights must have been copied.
        options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "0")
        return options


class OnnxModel:
    """One inference session."""

    platform = PLATFORM

    def __init__(self, runtime: ModuleType, session: Any, *, is_large: bool) -> None:
        self._runtime = runtime
        self._is_large = is_large
        self._session = session
        self.inputs = tuple(_spec("input", argument) for argument in session.get_inputs())
        self.outputs = tuple(_spec("output", argument) for argument in session.get_outputs())
        self._output_dtypes = {spec.name: spec.dtype for spec in self.outputs}
        # onnxruntime hands out bfloat16 only as OrtValues, and makes no OrtValue of strings.
        if any(s.dtype == BYTES for s in self.inputs) and any(s.dtype == BF16 for s in self.outputs):
            raise _invalid("a model cannot have both string inputs and bfloat16 outputs on this engine")

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
        if not outputs:
            return ()
        through_values = any(self._output_dtypes[name] == BF16 for name in outputs)
        feed = {tensor.name: self._feed(tensor, as_value=through_values) for tensor in inputs}
        session = self._session
        run = session.run_with_ort_values if through_values else session.run
        try:
            results = run(list(outputs), feed)
            return tuple(
                Tensor(name, self._output_dtypes[name], _array(self._output_dtypes[name], result))
                for name, result in zip(outputs, results, strict=True)
            )
        except Exception as exc:  # noqa: BLE001 - the boundary: onnxruntime's errors share no other base
            raise RequestError(RequestCode.MODEL_FAILED, _why_not_run(exc)) from None

    def close(self) -> None:
        self._session = None
        if self._is_large:
            heap.trim()

    def _feed(self, tensor: Tensor, *, as_value: bool) -> Any:
        value = self._runtime.OrtValue
        if tensor.dtype == BF16:
            return value.ortvalue_from_numpy_with_onnx_type(tensor.array, _BFLOAT16)
        if tensor.dtype == BYTES:
            return _as_strings(tensor)
        # A binary tensor may lie at any offset of the body; kernels expect natural alignment.
        array = np.require(tensor.array, requirements="A")
        return value.ortvalue_from_numpy(array) if as_value else array


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry off, or raise UsageError if it was imported with it on."""
    already_imported = "onnxruntime" in sys.modules
    if already_imported and os.environ.get(TELEMETRY_VARIABLE) != "1":
        raise UsageError(
            "onnxruntime was imported before its telemetry was switched off: it reports to its vendor",
            hint=f"set {TELEMETRY_VARIABLE}=1 in the environment before the program starts",
        )
    os.environ[TELEMETRY_VARIABLE] = "1"
    os.environ.pop(_MODEL_SETTINGS_VARIABLE, None)
    try:
        import onnxruntime  # noqa: PLC0415 - only once the variable is set
    except ImportError as exc:
        raise UsageError(
            "onnxruntime is not installed", hint="install this package again with its [server] extra"
        ) from exc
    runtime: ModuleType = onnxruntime
    # The logger of the library itself, apart from the sessions', prints to stderr too.
    onnxruntime.set_default_logger_severity(_LOG_FATAL_ONLY)
    return runtime


def _spec(what: str, argument: Any) -> TensorSpec:
    dtype = BY_ONNX.get(argument.type)
    if dtype is None:
        raise _invalid(
            f"its {what} {shown(argument.name)} is of type {shown(argument.type)}; "
            f"inputs and outputs are tensors of {', '.join(BY_NAME)}"
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else DYNAMIC for size in argument.shape)
    return TensorSpec(argument.name, dtype, shape)


def _as_strings(tensor: Tensor) -> NDArray[Any]:
    """Return an object array of str: a tensor(string) holds UTF-8 text."""
    texts: NDArray[Any] = np.empty(tensor.array.size, dtype=object)
    try:
        for index, element in enumerate(tensor.array.flat):
            texts[index] = element.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(
            RequestCode.INPUT_DATA, f"input {shown(tensor.name)}: element {index} is not UTF-8 text"
        ) from None
    return texts.reshape(tensor.array.shape)


def _array(dtype: DType, result: Any) -> NDArray[Any]:
    if dtype == BF16:
        data = ctypes.string_at(result.data_ptr(), result.tensor_size_in_bytes())
        return np.frombuffer(data, dtype=BF16.numpy).reshape(result.shape())
    # What runs through OrtValues for the sake of another output comes back as one too.
    array = result if isinstance(result, np.ndarray) else _from_value(result)
    if dtype == BYTES:
        elements: NDArray[Any] = np.empty(array.size, dtype=object)
        for index, text in enumerate(array.flat):
            elements[index] = text.encode("utf-8")
        return elements.reshape(array.shape)
    return np.ascontiguousarray(array, dtype=dtype.numpy).reshape(array.shape)


def _from_value(result: Any) -> NDArray[Any]:
    array: NDArray[Any] = result.numpy()
    return array


def _why_not_loaded(exc: Exception) -> str:
    """One sentence for each class of onnxruntime's errors, in place of its text."""
    kind = type(exc).__name__
    if kind == "UnicodeDecodeError":
        return "a name of its inputs, outputs or dimensions is not UTF-8 text"
    if kind == "InvalidProtobuf":
        return "the model is not an ONNX file"
    if kind == "NotImplemented":
        return "the model uses an operator, or a type for it, that ONNX Runtime does not have on the CPU"
    if kind == "InvalidGraph":
        return (
            "the model is not a valid ONNX graph; check it with onnx.checker, and see that its weights are "
            "inside the file (external data are not read)"
        )
    return (
        "the engine cannot load the model: it has to be one complete ONNX file, its weights inside "
        "(external data are not read), of operators that ONNX Runtime has on the CPU"
    )


def _why_not_run(exc: Exception) -> str:
    if isinstance(exc, MemoryError) or "bad_alloc" in str(exc) or "allocate memory" in str(exc):
        return "the model ran out of memory on these inputs"
    if type(exc).__name__ == "InvalidArgument":
        return "the model refused these inputs: a value or a shape is not one that its operators accept"
    return "the model failed while it ran on these inputs"


def _invalid(what: str) -> RequestError:
    return RequestError(RequestCode.MODEL_INVALID, f"the model cannot be served: {what}")
