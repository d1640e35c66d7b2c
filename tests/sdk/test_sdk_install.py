# SPDX-License-Identifier: Apache-2.0
"""The package can be installed without a network: by pip into a virtual environment, and by ``tools/install_sdk.py``."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from sdk_stub import REPO

USE = "import declaw, declaw.sandbox_async.main, declaw.security.policy; print(declaw.__file__, declaw.__version__)"


def environment(**more: str) -> Dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP"))}
    # A dead proxy and no index: whatever would fetch something fails.
    dead = {"PIP_NO_INDEX": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **dead, **more}


def run(*command: Any, **more: str) -> str:
    done = subprocess.run([str(c) for c in command], env=environment(**more), cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_pip_install(tmp_path: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python makes no virtual environments with pip (Debian: apt-get install python3-venv)")
    before = sorted((REPO / "sdk" / "python").iterdir())
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", REPO / "sdk" / "python")
    place, version = run(python, "-c", USE).split()
    assert Path(place).is_relative_to(tmp_path / "env") and version == "0.1.0"
    assert (Path(place).parent / "py.typed").exists()
    assert "Name: declaw\nVersion: 0.1.0\n" in run(python, "-m", "pip", "show", "declaw")
    assert sorted((REPO / "sdk" / "python").iterdir()) == before, "nothing is left in the source"


def test_install_tool(tmp_path: Path) -> None:
    run(sys.executable, REPO / "tools" / "install_sdk.py", "--prefix", "/p", DESTDIR=str(tmp_path))
    (folder,) = tmp_path.glob("p/lib/python3.*/dist-packages")
    (folder / "declaw" / "old_module.py").write_text("")
    run(sys.executable, REPO / "tools" / "install_sdk.py", "--prefix", "/p", DESTDIR=str(tmp_path))
    assert not (folder / "declaw" / "old_module.py").exists(), "what an older version had is gone"
    place, _ = run(sys.executable, "-c", USE, PYTHONPATH=str(folder)).split()
    assert Path(place).is_relative_to(folder)
