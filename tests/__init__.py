"""Tests mirror the rooms. No example of a property has a time limit: the machine may be busy."""

from hypothesis import settings

settings.register_profile("bilayer", deadline=None)
settings.load_profile("bilayer")
