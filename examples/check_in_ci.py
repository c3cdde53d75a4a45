"""An avatar checked in your own CI: `python examples/check_in_ci.py out [snpe-1.32]`.

Needs `pip install 'bilayer[export]'`. Exit codes are those of the commands: 0 fine, 3 no usable bundle, or the target
refuses its network; 4 it does not compute what was trained; 5 something is not installed.
"""

import sys

import bilayer
from bilayer.runtime import BilayerError


def main(bundle: str, target: str = "qairt") -> int:
    """Print a line for each check, and return the exit code."""
    try:
        report = bilayer.check(bundle)
        for step in report.steps:
            print(f"{step.name}: {step.ruling.verdict}")
        report.require()
        findings = bilayer.check(bundle, target)
    except BilayerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for finding in findings:
        print(f"{finding.severity}: {finding.describe()}")
    refused = any(finding.severity == "error" for finding in findings)
    print(f"{target}: {'refused' if refused else 'fits'}")
    return 3 if refused else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
