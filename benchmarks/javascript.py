"""The npm packages of the peers in JavaScript, which are installed at first use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
_LOCK = PEERS / "package-lock.json"
_INSTALLED = PEERS / "node_modules" / ".package-lock.json"


def is_installable() -> bool:
    """Return whether npm and Node.js are installed."""
    return bool(shutil.which("npm") and shutil.which("node"))


def install() -> None:
    """Install the packages, unless those of the present lock file are installed.

    Raises:
        SystemExit: npm failed.
    """
    if not _INSTALLED.exists() or _INSTALLED.stat().st_mtime < _LOCK.stat().st_mtime:
        print("Installing the npm packages of the peers, once", flush=True)
        command = [shutil.which("npm") or "npm", "ci", "--loglevel=error", "--no-audit", "--no-fund"]
        if subprocess.run(command, cwd=PEERS, check=False).returncode:
            raise SystemExit("npm ci failed. Without Node.js: --sides gql-api,Strawberry")
