"""The modules of the rooms."""

import importlib

from tests.test_house import FILES, ROOT


def import_all(*rooms):
    for path in FILES:
        room, *rest = path.relative_to(ROOT).with_suffix("").parts
        if room in rooms and not {"__main__", "__init__"} & set(rest):
            importlib.import_module(".".join(("bilayer", room, *rest)))
