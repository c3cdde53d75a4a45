"""A stand-in for snpe-diagview and qnn-profile-viewer: prints a stand-in's log in the form of the documented ones."""

import json
import sys
from pathlib import Path

SNPE = """Log File Created: Thu May 25 10:39:50 2023
Software library version: {version}

Load: 149 us
Deserialize: 15997 us
Create: 28905 us

Init: {init} us
De-Init: 6699 us

Average SNPE Statistics:
------------------------------
Total Inference Time: {total} us
Forward Propagate Time: {us} us
RPC Execute Time: 0 us
"""
LAYERS = "\nLayer Times: \n---------------\n0: {us} us : GPU\n1: 21 us : GPU\n"
QNN = """Qnn Init/Prepare/Finalize/De-Init/Execute/Lib-Load Statistics:
Init Stats:
-----------
    NetRun:  {init} us

Execute Stats (Average):
------------------------
Total Inference Time:
---------------------
Graph 0 (model):
    NetRun:  {total} us
    Backend (QNN (execute) time): {us} us
"""

log = json.loads(Path(sys.argv[sys.argv.index("--input_log") + 1]).read_text())
numbers = {"version": log["version"], "us": log["us"], "total": log["us"] + 1000, "init": log["us"] + 2000}
text = SNPE + (LAYERS if log["level"] == "detailed" else "") if "diagview" in sys.argv[0] else QNN
print(text.format(**numbers))
