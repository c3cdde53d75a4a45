from tests.export.conftest import case_a_avatar

__all__ = ["case_a_avatar"]
