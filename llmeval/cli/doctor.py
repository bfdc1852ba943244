"""``llmeval doctor``: check this installation with the embedded model's known answers."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.cli.parser import Parser
from llmeval.core.errors import GateFailed

_EPILOG = """examples:
  llmeval doctor
  llmeval doctor --device cuda --dtype bfloat16

exit codes: 0 all agree, 3 something differs
"""


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="llmeval doctor",
        description="Run the embedded model on the embedded suite and compare with known values.",
        epilog=_EPILOG,
    )
    parser.add_argument("-m", "--model", default="pocket", help="a backend that serves pocket")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--allow-unsafe-code", action="store_true")
    arguments = parser.parse_args(argv)
    from llmeval.cli.console import make_progress, set_up_logging
    from llmeval.doctor import examine
    from llmeval.models import ModelSettings

    set_up_logging()
    settings = ModelSettings(dtype=arguments.dtype, device=arguments.device)
    failed = 0
    for check in examine(
        arguments.model,
        settings,
        allow_unsafe_code=arguments.allow_unsafe_code,
        progress=make_progress(),
    ):
        mark = {True: "ok  ", False: "FAIL", None: "    "}[check.ok]
        print(f"{mark} {check.name}: {check.detail}", flush=True)
        failed += check.ok is False
    if failed:
        raise GateFailed(
            f"{failed} check{'s' * (failed > 1)} failed",
            mend="do not trust this installation's numbers yet",
        )
    print("all checks agree with the known values")
    return 0
