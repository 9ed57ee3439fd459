import inspect
import re

import pytest

from churn_platform import errors
from churn_platform.errors import ChurnError, DataFaultError, InvalidRequestError, RequestError

CLASSES = [getattr(errors, name) for name in errors.__all__]


def drawn_tree() -> dict[str, str]:
    """Class to parent, as drawn in the module's docstring."""
    tree: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.match(r"([│├└─ ]*)(\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        del above[depth:]
        if above:
            tree[match[2]] = above[-1]
        above.append(match[2])
    return tree


def test_the_docstring_draws_the_tree_as_it_is():
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES if kind is not ChurnError}
    assert drawn_tree() == real


def test_each_error_has_a_code_and_a_title_of_its_own():
    assert len({kind.code for kind in CLASSES}) == len(CLASSES)
    assert len({kind.title for kind in CLASSES}) == len(CLASSES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code) for kind in CLASSES)


def test_answers_to_callers_are_client_errors_or_not_ready():
    answers = {kind.__name__: kind.status for kind in CLASSES if issubclass(kind, RequestError)}
    assert answers == {
        "RequestError": 400,
        "UnauthenticatedError": 401,
        "ForbiddenError": 403,
        "NotFoundError": 404,
        "UnknownCustomerError": 404,
        "InvalidRequestError": 422,
        "NotReadyError": 503,
    }


def test_an_error_reads_as_what_is_wrong_and_how_to_mend_it():
    error = ChurnError("The table is empty.", mend="Deliver it again.", field="usage")
    assert str(error) == "The table is empty. Deliver it again."
    assert (error.message, error.mend, error.field) == (
        "The table is empty.",
        "Deliver it again.",
        "usage",
    )
    assert str(ChurnError("The table is empty.")) == "The table is empty."


def test_a_data_fault_carries_what_failed():
    with pytest.raises(errors.SourceError) as caught:
        raise DataFaultError("x", table="usage", rule="min", share=0.5, column="logins", examples=["A-1"])
    fault = caught.value
    assert isinstance(fault, DataFaultError)
    assert (fault.table, fault.rule, fault.share, fault.column) == ("usage", "min", 0.5, "logins")
    assert fault.field == "logins"
    assert fault.examples == ("A-1",)


def test_a_request_error_lists_further_fields():
    error = InvalidRequestError("x", field="a", errors=[{"field": "b"}])
    assert error.errors == ({"field": "b"},)
