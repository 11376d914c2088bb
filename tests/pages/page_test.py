"""The pages of write_html in a real browser: what they show against the numbers that they show, how they play,
and that they ask nothing of a network.

    page_test.py FOLDER [--only TEXT] [--screenshots FOLDER]

FOLDER is what make_pages wrote. Exit status: 0 all checks passed, 1 some failed, 77 no browser here.
"""

import argparse
import sys
import time
import traceback
import xml.etree.ElementTree as ElementTree

import checks_of_opening  # noqa: F401  each adds its checks, in this order
import checks_of_playing  # noqa: F401
import checks_of_drawing  # noqa: F401
import checks_of_attention  # noqa: F401
import checks_of_export  # noqa: F401
import checks_of_speed  # noqa: F401
import webdriver
from pages import CHECKS, Pages


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--only", default="", help="checks whose name holds this text")
    parser.add_argument("--screenshots", help="a folder for pictures of the pages")
    options = parser.parse_args()
    failed = 0
    try:
        with webdriver.Browser() as browser:
            pages = Pages(browser, options.folder, options.screenshots)
            for function in CHECKS:
                if options.only not in function.__name__:
                    continue
                started = time.monotonic()
                try:
                    function(pages)
                    verdict = "passed"
                except AssertionError as error:
                    failed += 1
                    verdict = f"FAILED: {error}"
                except (webdriver.WebDriverError, ElementTree.ParseError, LookupError, TypeError, ValueError) as error:
                    failed += 1
                    at = traceback.extract_tb(error.__traceback__)[-1]
                    verdict = f"FAILED: {type(error).__name__}: {error} ({at.name}, line {at.lineno})"
                print(f"{function.__name__} ({time.monotonic() - started:.1f} s): {verdict}", flush=True)
    except webdriver.Missing as missing:
        print(f"skipped: {missing} not found")
        return 77
    print("all checks passed" if failed == 0 else f"{failed} checks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
