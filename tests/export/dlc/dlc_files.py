"""The networks that .dlc files hold here, such files as a test writes them, and the rule for reading any file."""

import json

import numpy as np

from bilayer.export.dlc.read import as_text, describe, parse_dlc
from bilayer.runtime.errors import DlcError
from tests.export import dlc_writer
from tests.export.networks import avatar_like

NETWORKS = {
    "deconv": {"deconv": True},
    "nearest": {"deconv": False},
    "norms": {"norms": True},
    "one_head": {"heads": False},
    "float16": {"dtype": np.float16, "norms": True},
}
MODEL = avatar_like(norms=True)
WRITTEN = {
    "v3": dlc_writer.v3(MODEL),
    "v4 inline": dlc_writer.v4(MODEL, "inline"),
    "v4 NR64": dlc_writer.v4(MODEL, "NR64"),
}


def reads_or_raises(data):
    """The rule for every input: it reads, or it raises a DlcError of one line."""
    try:
        dlc = parse_dlc(data, "some.dlc")
    except DlcError as error:
        message = str(error)
    else:
        json.dumps(describe(dlc))
        as_text(dlc).encode()
        return dlc
    assert message.startswith("some.dlc: ")
    assert message.isprintable()
    return None
