from pathlib import Path

import pytest

from tests.native_sampler import ARM64, HOST, assert_same_bits

NATIVE = Path(__file__).parents[2] / "android_harness" / "native"


@pytest.mark.parametrize("toolchain", [pytest.param(HOST, id="scalar"), pytest.param(ARM64, id="neon")])
def test_the_portable_sampler_gives_the_bits_of_the_python_sampler(toolchain, tmp_path):
    toolchain.check()
    assert_same_bits(toolchain, tmp_path, "-DBILAYER_HPP", "-ffp-contract=off", f"-I{NATIVE}")
