"""An exported avatar's anchors: where landmarks lie in the texture, numbers in its contract."""

import json

from tests.hostile.families.bundles import VALUES, bundle

POINT = {"landmark": 30, "x": 0.0, "y": 0.1, "ridge": 0.1}
GOOD = {"reach": 0.1, "limit": 0.1, "points": [POINT]}


def anchors(name, codes=(3,), given=GOOD):
    """A bundle that has anchors."""

    def apply(folder):
        content = json.loads((folder / "avatar.json").read_text())
        content["anchors"] = given
        (folder / "avatar.json").write_text(json.dumps(content))

    return bundle(f"anchors-{name}", apply, codes, says="" if codes == (0,) else "anchors")


def with_point(**fields):
    return GOOD | {"points": [POINT | fields]}


CASES = [
    anchors("good", (0,)),
    anchors("null", (0,), None),
    anchors("one-place", (0,), GOOD | {"points": [POINT] * 68}),
    anchors("far-off", (0,), with_point(x=3.9, y=-3.9, ridge=0.001) | {"limit": 2.0}),
    anchors("all-free", (0,), GOOD | {"points": [POINT | {"landmark": k, "ridge": 1000.0} for k in range(68)]}),
    *(anchors(f"reach-{name}", given=GOOD | {"reach": value}) for name, value in VALUES.items()),
    *(anchors(f"points-{name}", given=GOOD | {"points": value}) for name, value in VALUES.items()),
    *(anchors(f"x-{name}", given=with_point(x=value)) for name, value in VALUES.items() if name != "negative"),
    anchors("no-points", given=GOOD | {"points": []}),
    anchors("points-without-end", given=GOOD | {"points": [POINT] * 10_000}),
    anchors("landmark-68", given=with_point(landmark=68)),
    anchors("landmark-before-0", given=with_point(landmark=-1)),
    anchors("landmark-huge", given=with_point(landmark=1 << 70)),
    anchors("no-ridge", given=with_point(ridge=0)),
    anchors("ridge-huge", given=with_point(ridge=1e308)),
    anchors("no-reach", given=GOOD | {"reach": 0}),
    anchors("reach-tiny", given=GOOD | {"reach": 1e-300}),
    anchors("limit-0", given=GOOD | {"limit": 0}),
    anchors("another-key", given=GOOD | {"grid": 32}),
]
