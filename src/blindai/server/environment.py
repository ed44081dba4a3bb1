"""What must not be in the environment of a process that holds keys.

In a TEE these variables come from the host, outside the measured image: they would make OpenSSL, the loader
or Python run foreign code, or write down keys and contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from blindai.errors import UsageError

_KEYS = "it makes TLS libraries write down the keys of every connection"
_OPENSSL = "it makes OpenSSL load code from outside the measured image"
_LOADER = "it loads code from outside the measured image into this process"
_GLIBC = "it makes the C library load code or data from outside the measured image"
_WRITES = "it makes the C library write a file about what this process does"
_PYTHON = "it makes Python run code from outside the measured image"
_SHOWS = "it makes Python write out what the memory of this process is about"

FORBIDDEN: Mapping[str, str] = MappingProxyType(
    {
        "SSLKEYLOGFILE": _KEYS,
        "OPENSSL_CONF": "it makes OpenSSL read settings, and load modules, from outside the measured image",
        "OPENSSL_MODULES": _OPENSSL,
        "OPENSSL_ENGINES": _OPENSSL,
        # It can turn off AES-NI and the like: OpenSSL falls back to code that leaks keys through timing.
        "OPENSSL_ia32cap": "it makes OpenSSL choose code by the host's word instead of the processor's",
        "LD_PRELOAD": _LOADER,
        "LD_AUDIT": _LOADER,
        "LD_PROFILE": _WRITES,
        "LD_PROFILE_OUTPUT": _WRITES,
        "LD_DEBUG_OUTPUT": _WRITES,
        "GCONV_PATH": _GLIBC,  # modules that convert between character sets: code
        "MALLOC_TRACE": _WRITES,
    }
)

# Forbidden outside simulation only: developers start the server from a source tree, or with libraries of
# their own, and look into it.
FORBIDDEN_IN_PRODUCTION: Mapping[str, str] = MappingProxyType(
    {
        "LD_LIBRARY_PATH": _LOADER,
        "LD_DEBUG": _WRITES,
        "LOCPATH": _GLIBC,
        "NLSPATH": _GLIBC,
        "GLIBC_TUNABLES": "it changes how the C library allocates and checks memory",
        "PYTHONPATH": _PYTHON,
        "PYTHONHOME": _PYTHON,
        "PYTHONPLATLIBDIR": _PYTHON,
        "PYTHONSTARTUP": _PYTHON,
        "PYTHONUSERBASE": _PYTHON,
        "PYTHONEXECUTABLE": _PYTHON,
        "PYTHONPYCACHEPREFIX": _PYTHON,  # compiled modules, which Python does not compare with anything
        "PYTHONWARNINGS": "it makes Python import the modules that it names",
        "PYTHONDEBUG": _SHOWS,
        "PYTHONVERBOSE": _SHOWS,
        "PYTHONDEVMODE": _SHOWS,  # the two below among others
        "PYTHONFAULTHANDLER": _SHOWS,
        "PYTHONTRACEMALLOC": _SHOWS,
        "PYTHONMALLOCSTATS": _SHOWS,
        "PYTHONPERFSUPPORT": _SHOWS,  # writes /tmp/perf-PID.map
        "PYTHONPROFILEIMPORTTIME": _SHOWS,
        "PYTHONASYNCIODEBUG": _SHOWS,  # logs slow calls with their arguments
        "PYTHON_PERF_JIT_SUPPORT": _SHOWS,
        "PYTHONDUMPREFS": _SHOWS,
        "PYTHONDUMPREFSFILE": _SHOWS,
        "PYTHON_PRESITE": _PYTHON,
        "PYTHONBREAKPOINT": _PYTHON,
        "PYTHONINSPECT": "it lets whoever holds the terminal run code in this process",
    }
)


def check(environment: Mapping[str, str], *, simulation: bool = False) -> None:
    """Raise UsageError if a variable is set that could leak keys or load foreign code.

    An empty variable counts as none, as it does for those who read them.
    """
    forbidden = FORBIDDEN if simulation else {**FORBIDDEN, **FORBIDDEN_IN_PRODUCTION}
    for variable, why in forbidden.items():
        if environment.get(variable):
            raise UsageError(
                f"{variable} is set: {why}. The server does not start with it",
                hint=f"start it without: env -u {variable} blindai serve ...",
            )
