import pytest

from churn_platform.errors import ForbiddenError
from churn_platform.identity.roles import SCOPES, Principal, Role, Scope


def principal(role: Role) -> Principal:
    return Principal("0" * 12, "test", role)


def test_every_role_has_scopes_and_every_scope_a_role_besides_admin_or_a_reason():
    assert set(SCOPES) == set(Role)
    assert all(SCOPES.values())
    assert SCOPES[Role.ADMIN] == frozenset(Scope)
    only_admin = frozenset(Scope).difference(*(SCOPES[role] for role in Role if role is not Role.ADMIN))
    assert only_admin == {Scope.SUBJECTS_ERASE, Scope.KEYS_WRITE}


@pytest.mark.parametrize(
    ("scope", "roles"),
    [
        (Scope.PREDICT, {"admin", "ml_engineer", "analyst", "customer_success", "service"}),
        (Scope.ROLLOUT_WRITE, {"admin", "ml_engineer"}),
        (Scope.ROLLOUT_APPROVE, {"admin", "ml_engineer"}),
        (Scope.MODELS_WRITE, {"admin", "ml_engineer"}),
        (Scope.AUDIT_READ, {"admin", "auditor"}),
        (Scope.PREDICTIONS_REPLAY, {"admin", "auditor", "ml_engineer"}),
        (Scope.KEYS_READ, {"admin", "auditor"}),
        (Scope.ALERTS_WRITE, {"admin", "service"}),
    ],
)
def test_who_may_do_what(scope: Scope, roles: set[str]):
    assert {str(role) for role in Role if scope in SCOPES[role]} == roles


def test_those_who_only_look_change_nothing():
    for role in (Role.ANALYST, Role.AUDITOR):
        assert not {scope for scope in SCOPES[role] if scope.endswith((":write", ":approve", ":erase"))}


def test_a_principal_is_allowed_or_told_who_is():
    engineer, analyst = principal(Role.ML_ENGINEER), principal(Role.ANALYST)
    engineer.require("rollout:write")
    assert engineer.may(Scope.ROLLOUT_WRITE)
    assert not analyst.may("rollout:write")
    with pytest.raises(ForbiddenError, match="analyst, which lacks the scope rollout:write") as caught:
        analyst.require("rollout:write")
    assert caught.value.mend == "Use a key with one of the roles admin, ml_engineer."


def test_a_scope_that_does_not_exist_is_an_error_of_the_code():
    with pytest.raises(ValueError, match="rollout:wirte"):
        principal(Role.ADMIN).require("rollout:wirte")


def test_roles_cannot_be_given_scopes_at_run_time():
    with pytest.raises(TypeError):
        SCOPES[Role.ANALYST] = frozenset(Scope)  # type: ignore[index]
