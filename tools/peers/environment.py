"""One environment for all public implementations, in the user's cache; it sees this environment's packages as well."""

import hashlib
import os
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("transformers==4.30.2", "einops==0.8.2", "pyyaml>=6")
# These ask for a torch of their own.
ALONE = (
    "compressive-transformer-pytorch==0.4.0",
    "mogrifier==0.0.5",
    "wavenet-vocoder==0.1.1",
    "labml==0.5.3",
    "labml-helpers==0.4.89",
    "labml-nn==0.5.1",
    "titans-pytorch==0.5.5",
    "cloudpickle==3.1.2",
    "accelerated-scan==0.3.1",
    "assoc-scan==0.0.6",
    "axial-positional-embedding==0.3.12",
    "einx==0.4.3",
    "frozendict==2.5.1",
    "hyper-connections==0.4.11",
    "loguru==0.7.3",
    "pyvers==0.2.3",
    "rotary-embedding-torch==0.9.1",
    "tensordict==0.15.3",
    "torch-einops-utils==0.2.0",
    "x-transformers==2.31.10",
)


def peers_python() -> Path:
    """The Python of the peers' environment, which is made on first use."""
    key = hashlib.sha256(repr((REQUIREMENTS, ALONE, sys.prefix)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seqmem" / "peers" / key
    python = cache / "bin" / "python"
    if not (cache / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *REQUIREMENTS], check=True)
        subprocess.run([*install, "--no-deps", *ALONE], check=True)
        own = next((cache / "lib").glob("python*/site-packages"))
        (own / "shared.pth").write_text("\n".join([*site.getsitepackages(), str(ROOT)]))
        (cache / "ready").touch()
    return python
