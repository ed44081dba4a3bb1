from __future__ import annotations

import numpy as np
import pytest

from blindai.errors import RequestCode, RequestError
from blindai.runtime.inputs import check_inputs, select_outputs
from blindai.wire.dtypes import FP32, FP64, INT64
from blindai.wire.inference import RequestedOutput
from blindai.wire.metadata import TensorSpec
from blindai.wire.tensors import Tensor

SPECS = (TensorSpec("x", FP32, (-1, 64)), TensorSpec("n", INT64, (1,)))


def fp32(name: str, *shape: int) -> Tensor:
    return Tensor(name, FP32, np.zeros(shape, dtype=np.float32))


N = Tensor("n", INT64, np.zeros(1, dtype=np.int64))
X = fp32("x", 2, 64)


def refusal(*tensors: Tensor) -> RequestError:
    with pytest.raises(RequestError) as caught:
        check_inputs(tensors, SPECS)
    return caught.value


@pytest.mark.parametrize("tensors", [(X, N), (N, X), (fp32("x", 0, 64), N)])
def test_inputs_that_fit(tensors):
    """The inputs that the model declares are taken, in any order, with dynamic dimensions of any size."""
    check_inputs(tensors, SPECS)


@pytest.mark.parametrize(
    ("tensors", "code", "says"),
    [
        ((X,), RequestCode.INPUT_MISSING, 'lacks "n" (INT64 [1]); the model\'s inputs are "x", "n"'),
        ((), RequestCode.INPUT_MISSING, '"x" (FP32 [-1, 64]), "n" (INT64 [1])'),
        ((X, N, X), RequestCode.INPUT_DUPLICATE, '"x" is there twice'),
        (
            (Tensor("x", FP64, np.zeros((1, 64))), N),
            RequestCode.INPUT_DTYPE,
            "expected FP32 [-1, 64], got FP64 [1, 64]",
        ),
        ((fp32("x", 64), N), RequestCode.INPUT_SHAPE, "expected FP32 [-1, 64], got FP32 [64]"),
        ((fp32("x", 1, 63), N), RequestCode.INPUT_SHAPE, "got FP32 [1, 63]"),
        ((fp32("x", 1, 64, 1), N), RequestCode.INPUT_SHAPE, "got FP32 [1, 64, 1]"),
    ],
)
def test_inputs_that_do_not_fit(tensors, code, says):
    """Each kind of mistake has its code, and a sentence with what was expected."""
    error = refusal(*tensors)
    assert error.code == code
    assert says in str(error)


@pytest.mark.parametrize("tensors", [(X, N, fp32("SECRET", 1)), (fp32("SECRET", 2, 64), N)])
def test_a_name_that_the_model_does_not_have(tensors):
    """Extra and misnamed inputs are refused with the names that the model has; theirs is not repeated."""
    error = refusal(*tensors)
    assert error.code == RequestCode.INPUT_UNKNOWN
    assert '"x", "n"' in str(error)
    assert "SECRET" not in str(error)


def test_a_model_without_a_declared_shape_takes_any():
    """A shape of () is a scalar or no declaration; it is left to the engine."""
    check_inputs([fp32("x", 2, 3)], [TensorSpec("x", FP32, ())])


def test_outputs_default_to_all():
    """No output named means all of them, in the model's order."""
    assert select_outputs((), SPECS) == ("x", "n")
    assert select_outputs((RequestedOutput("n", False),), SPECS) == ("n",)


def test_an_output_that_the_model_does_not_have():
    """An unknown output is refused with the names that there are."""
    with pytest.raises(RequestError, match='outputs are "x", "n"') as caught:
        select_outputs((RequestedOutput("SECRET", False),), SPECS)
    assert caught.value.code == RequestCode.OUTPUT_UNKNOWN
    assert "SECRET" not in str(caught.value)


def test_an_output_twice():
    """One output cannot be asked for twice."""
    with pytest.raises(RequestError) as caught:
        select_outputs((RequestedOutput("n", False), RequestedOutput("n", True)), SPECS)
    assert caught.value.code == RequestCode.MALFORMED
