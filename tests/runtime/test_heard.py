"""What is logged as a warning, for who has another place for it."""

import logging

from bilayer.runtime.heard import heard_warnings

LOG = logging.getLogger("bilayer.runtime.face.find")


def test_our_warnings_are_heard_and_do_not_go_on(caplog):
    with heard_warnings() as heard:
        LOG.warning("%s: found %d faces", "a.png", 2)
        LOG.info("nothing odd")
        logging.getLogger("another").warning("not ours")
    assert heard == ["a.png: found 2 faces"]
    assert "found" not in caplog.text
    assert "not ours" in caplog.text


def test_afterwards_they_are_logged_again(caplog):
    with heard_warnings() as heard:
        pass
    LOG.warning("later")
    assert heard == []
    assert "later" in caplog.text
