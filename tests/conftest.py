"""What holds for all tests?  Their options, and that they compile what they test.

--bless rewrites the expected texts of filetests; --native runs the array functions' tests compiled too; --fuzz-graphs
says how many random graphs are tried. Nothing comes from, or goes to, the user's compile cache.
"""

import os

os.environ["LAMINA_CACHE"] = "off"


def pytest_addoption(parser):
    parser.addoption("--bless", action="store_true", help="rewrite the expected text of every filetest")
    parser.addoption("--native", action="store_true", help="run the tests of array functions as native code too")
    parser.addoption("--fuzz-graphs", type=int, default=200, metavar="N", help="how many random graphs are tried")
