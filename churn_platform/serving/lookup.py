"""From a company's own id to the customer's newest features."""

from __future__ import annotations

from churn_platform.errors import NotFoundError, NotReadyError, UnknownCustomerError
from churn_platform.features.online import Missing, Vector
from churn_platform.serving.ports import OnlineVector
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.schemas import CustomerFeatures
from churn_platform.sources.tables import SNAPSHOT_AS_OF


def vector_of(runtime: Runtime, customer_id: str) -> OnlineVector:
    """The newest online vector of a customer.

    Raises:
        UnknownCustomerError: the company's tables have never named this id.
        NotFoundError: the customer is known, but has no online vector, or one that is too old.
        NotReadyError: vault or online store are not open yet, or the vector is just being replaced.
    """
    identities, vectors = runtime.need_store()
    pseudonym = identities.find(customer_id)
    if pseudonym is None:
        # The id is not repeated: the problem may be logged by whoever receives it.
        raise UnknownCustomerError(
            "No customer has this id.",
            mend="Send the id as the company's own tables write it; ids are compared letter by letter.",
            field="customer_id",
        )
    found = vectors.get([pseudonym], at=runtime.now())[pseudonym]
    if isinstance(found, Missing):
        raise no_vector(found)
    values = {name: value for name, value in found.items() if name != "event_timestamp"}
    moment = found["event_timestamp"]
    # A flat file makes no claim about time; the instant that its rows carry is no date to show.
    as_of = None if moment.replace(tzinfo=None) == SNAPSHOT_AS_OF else moment
    if isinstance(found, Vector):
        times = found.view_times if as_of else {}
        return OnlineVector(as_of, values, pseudonym, found.generation, found.layout, times)
    return OnlineVector(as_of, values, pseudonym)


def features_of(runtime: Runtime, customer_id: str) -> CustomerFeatures:
    """The answer to GET /v1/features/{customer_id}; raises what :func:`vector_of` does."""
    vector = vector_of(runtime, customer_id)
    return CustomerFeatures(
        customer_id=customer_id,
        as_of=vector.as_of,
        generation=vector.generation,
        layout=vector.layout,
        view_times=dict(vector.view_times),
        features=dict(vector.values),
    )


def no_vector(missing: Missing) -> NotFoundError | NotReadyError:
    """Why a known customer has no vector, as the answer to whoever asked."""
    if missing.reason == "mixed":
        return NotReadyError(
            "This customer's features are just being replaced.",
            mend="Try again in a moment; if it stays so, materialize online_features again.",
        )
    if missing.reason == "expired":
        return NotFoundError(
            f"This customer's newest features are of {missing.event_timestamp:%Y-%m-%d}: too old for now.",
            mend="Materialize the newest month, or send the customer's features instead of the id.",
            field="customer_id",
        )
    return NotFoundError(
        "This customer is known, but has no features online: not active at the newest observation date.",
        mend="Send the customer's features instead of the id.",
        field="customer_id",
    )
