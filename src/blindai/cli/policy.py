"""`blindai policy`: write, check, read, compare and convert policies."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from blindai.attestation.policy import Policy
from blindai.attestation.verdict import Verdict
from blindai.cli import connection, output
from blindai.cli.parser import Verbs
from blindai.client.demands import demands, policy_text
from blindai.client.policies import conversion, difference, first_use, published, relaxed, show
from blindai.errors import UsageError

EXIT_DIFFERENT = 6
_SOURCE_HELP = "a policy file; or a server (host, host:port, https URL), whose published policy is read"


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser(
        "policy",
        help="write, check, read, compare and convert policies",
        description="Write, check, read, compare and convert policies.",
    )
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    _add_init(actions)
    _add_check(actions)
    _add_show(actions)
    _add_diff(actions)
    _add_convert(actions)


def _add_init(actions: Verbs) -> None:
    parser = actions.add_parser(
        "init",
        help="write a policy from what a server shows now: trust on first use",
        description="Ask a server for evidence, verify it, and print a policy that accepts exactly the code "
        "that runs there now. Only the request for evidence is sent. Nothing says that this code is what you "
        "want: compare the policy with a build that you trust.",
        epilog="example: blindai policy init --from inference.example.org --out policy.toml",
    )
    parser.add_argument("--from", dest="address", required=True, metavar="HOST", help=connection.ADDRESS_HELP)
    parser.add_argument("--simulation", action="store_true", help="the server is simulated, on this machine")
    parser.add_argument(
        "--simulation-root",
        action="append",
        metavar="ROOT",
        help="the server is simulated with this root: PEM file or SHA-256; may be repeated",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write the policy to this file, which may not exist yet"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="longest wait (default 30)"
    )
    parser.add_argument("--json", action="store_true", help="print the policy and its verdict as JSON")
    parser.set_defaults(run=run_init)


def _add_check(actions: Verbs) -> None:
    parser = actions.add_parser(
        "check",
        help="load a policy and say what it accepts",
        description="Load a policy, print what it accepts, one line for each entry, and warn on stderr about "
        "what is legal but weak. Exit code 1 if it does not load.",
        epilog="example: blindai policy check policy.toml",
    )
    parser.add_argument("file", metavar="FILE", help="a policy file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_check)


def _add_show(actions: Verbs) -> None:
    parser = actions.add_parser(
        "show",
        help="print a policy in words, defaults included",
        description="Print a policy in words, claim by claim, with what is demanded though it is not "
        "written. Of a server, the policy that its operator publishes: it is a claim, and never adopted. The "
        "server is verified as the options demand before it is asked.",
        epilog="example: blindai policy show policy.toml",
    )
    parser.add_argument("source", metavar="FILE|HOST", help=_SOURCE_HELP)
    parser.add_argument("--text", action="store_true", help="print the text of the policy as it is")
    connection.add_demands(parser)
    parser.set_defaults(run=run_show)


def _add_diff(actions: Verbs) -> None:
    parser = actions.add_parser(
        "diff",
        help="compare what two policies accept",
        description="Print each demand in which two policies differ, and which of them is looser there. "
        "Order, comments and entries said twice do not count. A server is verified before its published "
        "policy is read: as --policy demands, or without it as the other policy does.",
        epilog="example: blindai policy diff policy.toml inference.example.org",
    )
    parser.add_argument("a", metavar="A", help=_SOURCE_HELP)
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument(
        "--exit-code", action="store_true", help=f"exit with {EXIT_DIFFERENT} if the policies differ"
    )
    connection.add_demands(parser)
    parser.set_defaults(run=run_diff)


def _add_convert(actions: Verbs) -> None:
    parser = actions.add_parser(
        "convert",
        help="convert a policy of the original BlindAI",
        description="Print an eight-field policy.toml or manifest.toml of the original BlindAI (SGX) in "
        "today's grammar, and say on stderr what it no longer accepts.",
        epilog="example: blindai policy convert manifest.toml > policy.toml",
    )
    parser.add_argument("file", metavar="FILE", help="the original's policy.toml or manifest.toml")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run_convert)


def run_init(arguments: argparse.Namespace) -> None:
    target = Path(arguments.out) if arguments.out else None
    if target and target.exists():
        raise UsageError(f"{target} exists: a policy is not overwritten", hint="give another name to --out")
    wanted = demands(
        arguments.address,
        policy=Policy.for_simulation(),  # there is none yet; nothing is accepted by it
        certificate=None,
        simulation=connection.simulation(arguments),
        floors=False,
        attestation_timeout_seconds=arguments.timeout,
    )
    with connection.said_aloud():
        begun = first_use.begin(wanted, timeout_seconds=arguments.timeout)
    _say_first_use(begun)
    if target:
        try:
            with target.open("x", encoding="utf-8") as file:
                file.write(begun.text)
        except OSError as exc:
            raise UsageError(f"cannot write the policy: {target}: {exc.strerror}") from exc
        output.talk(f"policy written to {target}")
    elif not arguments.json:
        output.data(begun.text)
    if arguments.json:
        output.json_data({"policy": begun.text, "verdict": begun.verdict.to_json()})


def run_check(arguments: argparse.Namespace) -> None:
    policy = Policy.from_toml(policy_text(arguments.file))
    now = int(time.time())
    weak, accepts = relaxed.warnings(policy, now=now), show.summary(policy, now=now)
    for sentence in weak:
        output.talk(f"warning: {sentence}")
    if arguments.json:
        output.json_data({"sha256": policy.sha256, "accepts": list(accepts), "warnings": list(weak)})
    else:
        output.data("\n".join(accepts))


def run_show(arguments: argparse.Namespace) -> None:
    if _is_file(arguments.source):
        text = policy_text(arguments.source)
        policy = None if arguments.text else Policy.from_toml(text)
    else:
        claimed = _published(arguments.source, arguments, arguments.policy)
        text = claimed.text
        policy = None if arguments.text else claimed.load()
    if arguments.json:
        output.json_data({"text": text} if policy is None else show.to_json(policy))
    else:
        output.data(text if policy is None else show.text(policy))


def run_diff(arguments: argparse.Namespace) -> int:
    texts = (arguments.a, arguments.b)
    files = [source for source in texts if _is_file(source)]
    mine = arguments.policy or (files[0] if files else None)
    a, b = (
        Policy.from_toml(policy_text(source))
        if source in files
        else _published(source, arguments, mine).load()
        for source in texts
    )
    found = difference.between(a, b)
    if arguments.json:
        output.json_data(difference.to_json(found))
    elif found:
        output.data(difference.text(found))
    else:
        output.talk("no difference: both accept the same")
    return EXIT_DIFFERENT if found and arguments.exit_code else 0


def run_convert(arguments: argparse.Namespace) -> None:
    converted = conversion.convert(policy_text(arguments.file))
    for note in converted.notes:
        output.talk(f"warning: {note}")
    if arguments.json:
        output.json_data({"policy": converted.text, "notes": list(converted.notes)})
    else:
        output.data(converted.text)


def _published(source: str, arguments: argparse.Namespace, policy: str | None) -> published.Published:
    wanted = demands(
        source,
        policy=policy,
        certificate=arguments.certificate,
        simulation=connection.simulation(arguments),
        floors=True if (floors := connection.floors(arguments)) is None else floors,
    )
    with connection.said_aloud():
        claimed = published.fetch(wanted, timeout_seconds=arguments.timeout)
    if claimed.verdict.simulated:
        output.talk(connection.SIMULATED)
    output.talk(f"the operator of {claimed.url} claims this policy: it proves nothing, and is never adopted")
    return claimed


def _say_first_use(begun: first_use.FirstUse) -> None:
    if begun.claims.simulated:
        output.talk(connection.SIMULATED)
    what = "a simulation" if begun.claims.simulated else "genuine hardware"
    output.talk("warning: TRUST ON FIRST USE")
    output.talk(f"verified: {what} ({begun.claims.tee}) runs exactly the code that this policy names")
    output.talk("NOT verified: that this code is what you want; compare it with a build that you trust")
    if begun.verdict.accepted:
        output.talk("this policy accepts the server as it is now")
    else:
        _say_refused(begun.verdict)


def _say_refused(verdict: Verdict) -> None:
    output.talk("this policy is strict, and refuses the server as it is now:")
    for check in verdict.failures:
        accepts = f"; accepted by: {check.accepted_by}" if check.accepted_by else ""
        output.talk(f"  {check.claim}: {check.found}, expected {check.expected}{accepts}")


def _is_file(source: str) -> bool:
    """Tell a file from a server: one that exists, or a name that could not be a server's."""
    named_as_one = source.endswith(".toml") or ("/" in source and "://" not in source.rstrip("/"))
    return named_as_one or Path(source).is_file()
