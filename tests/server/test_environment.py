"""Each variable that loads foreign code or writes secrets out keeps the server from starting."""

from __future__ import annotations

import pytest

from blindai.errors import UsageError
from blindai.server.environment import FORBIDDEN, FORBIDDEN_IN_PRODUCTION, check

ALWAYS = [
    "SSLKEYLOGFILE",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
    "OPENSSL_ia32cap",
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_PROFILE",
    "LD_PROFILE_OUTPUT",
    "LD_DEBUG_OUTPUT",
    "GCONV_PATH",
    "MALLOC_TRACE",
]
IN_PRODUCTION = [
    "LD_LIBRARY_PATH",
    "LD_DEBUG",
    "LOCPATH",
    "NLSPATH",
    "GLIBC_TUNABLES",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONPLATLIBDIR",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONEXECUTABLE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONWARNINGS",
    "PYTHONDEBUG",
    "PYTHONVERBOSE",
    "PYTHONDEVMODE",
    "PYTHONFAULTHANDLER",
    "PYTHONTRACEMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONPERFSUPPORT",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONASYNCIODEBUG",
    "PYTHON_PERF_JIT_SUPPORT",
    "PYTHONDUMPREFS",
    "PYTHONDUMPREFSFILE",
    "PYTHON_PRESITE",
    "PYTHONBREAKPOINT",
    "PYTHONINSPECT",
]


def test_the_lists_are_these():
    """A variable that goes missing from the code is missed here."""
    assert set(FORBIDDEN) == set(ALWAYS)
    assert set(FORBIDDEN_IN_PRODUCTION) == set(IN_PRODUCTION)


@pytest.mark.parametrize("variable", ALWAYS)
@pytest.mark.parametrize("simulation", [False, True])
def test_forbidden_everywhere(variable, simulation):
    """It is refused by name, in simulation too, and the error says how to start without it."""
    with pytest.raises(UsageError, match=f"^{variable} is set: it ") as caught:
        check({"PATH": "/bin", variable: "/x"}, simulation=simulation)
    assert f"env -u {variable} " in caught.value.hint


@pytest.mark.parametrize("variable", IN_PRODUCTION)
def test_forbidden_in_production(variable):
    """It is refused by name outside simulation, which is the default; developers may use it."""
    with pytest.raises(UsageError, match=f"^{variable} is set: it "):
        check({variable: "1"})
    check({variable: "1"}, simulation=True)


@pytest.mark.parametrize(
    "variable", ["PATH", "HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PYTHONUNBUFFERED"]
)
def test_what_does_no_harm_is_allowed(variable):
    """The server reads no trust store, and buffers say nothing."""
    check({variable: "1"}, simulation=False)


def test_an_empty_variable_is_none():
    """Who cannot unset a variable can empty it: its readers ignore it then."""
    check(dict.fromkeys((*ALWAYS, *IN_PRODUCTION), ""), simulation=False)


def test_the_value_is_not_repeated():
    """A path on the operator's machine is nobody else's business, and may hold a secret."""
    with pytest.raises(UsageError) as caught:
        check({"LD_PRELOAD": "/secret/canary.so"})
    assert "canary" not in f"{caught.value} {caught.value.hint}"
