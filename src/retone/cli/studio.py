"""Open a local web page to match, compare, edit and export settings.

Drop a recording and a reference (or choose a preset), match, adjust the settings and listen to the
result immediately. The page is served to this machine only and needs no network. With --host and
--token a team can use one server.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port from 0 to 65535")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r}: expected minutes above 0, 600 at most")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=_port, metavar="N", help="port (default: first free port from 8765)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address without opening a browser"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--token", metavar="T", help="secret required to open the page (with --host)"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file of secrets, one 'NAME: TOKEN' a line; taking a line out revokes it",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="host name under which the server is reached, to refuse others (repeatable)",
    )
    parser.add_argument(
        "--access-log", action="store_true", help="write a line to standard error for every request"
    )
    parser.add_argument(
        "--max-minutes", type=_minutes, default=200.0, metavar="M",
        help="longest recording allowed (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--max-disk", type=_gigabytes, default=8.0, metavar="GB",
        help="most space for temporary files of all pages (default: %(default)g)",
    )  # fmt: skip


def _gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected gigabytes from 0.1 to 10000")
    return value


def run(args: argparse.Namespace) -> int:
    from retone.studio.limits import Limits
    from retone.studio.serve import serve

    serve(
        host=args.host,
        port=args.port,
        token=args.token,
        browser=not args.no_browser,
        limits=Limits(minutes=args.max_minutes, disk_bytes=round(args.max_disk * 2**30)),
        token_file=args.token_file,
        names=args.name,
        log=args.access_log,
    )
    return 0
