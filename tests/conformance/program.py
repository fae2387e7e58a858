"""Holds one rule for one case in this process: `python -m tests.conformance.program RULE CASE`."""

from __future__ import annotations

import sys
import warnings

from tests.support.replicas import divide_the_processor


def main(rule: str, name: str) -> int:
    divide_the_processor()
    from tests.conformance import broken, rules

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
    try:
        rules.load_all()[rule].function(broken.find(name))
    except AssertionError as error:
        print(f"BROKEN RULE\n{error}")
        return rules.BROKEN_RULE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
