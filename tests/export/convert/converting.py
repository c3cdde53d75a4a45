"""Stand-ins of SDKs, and what a conversion leaves in a folder."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOOLS = {"snpe-1.32": "snpe-onnx-to-dlc", "qairt-sdk": "qairt-converter"}
VARIABLES = {"snpe-1.32": "SNPE_ROOT", "qairt-sdk": "QAIRT_SDK_ROOT"}
VERSIONS = {"snpe-1.32": 3, "qairt-sdk": 4}


def install(folder, tool):
    """The stand-in as an executable of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / tool
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.export.stand_in_converter import main; main()"
    path.write_text(f"#!{sys.executable}\n{start}\n")
    path.chmod(0o755)
    return path


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())
