import pytest

from bilayer.training.prepare.heads import HeadJob, HeadSettings, model_fingerprint, render_identity


@pytest.fixture(scope="session")
def tiny_heads(once_for_all):
    """A dataset of built-in heads, 64 px: 6 people to train on and 2 held out, 6 frames each."""

    def make(root):
        settings = HeadSettings(model_fingerprint(None), frames=6, size=64, supersampling=1)
        for split, people in (("train", range(6)), ("test", range(100, 102))):
            for identity in people:
                render_identity(HeadJob(identity, None, root, split, settings))

    return once_for_all("tiny_heads", make)
