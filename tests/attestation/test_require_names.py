"""What a policy may require of a server."""

from __future__ import annotations

import pytest

from blindai.attestation.policy import Policy
from blindai.errors import PolicyError
from tests.attestation.policy_texts import MINIMAL


def test_a_setting_that_no_server_states_does_not_load():
    """A typo is said when the policy is written, not by a refusal of every server."""
    with pytest.raises(PolicyError, match="model_uplaod"):
        Policy.from_toml(MINIMAL + '[require]\nmodel_uplaod = "off"\n')


@pytest.mark.parametrize("key", ["isolation", "sandbox", "model_upload", "sealing", "telemetry"])
def test_every_setting_of_the_reference_loads(key):
    """docs/policy.md names them."""
    assert Policy.from_toml(MINIMAL + f'[require]\n{key} = "x"\n').require == {key: "x"}
