"""Which options do the tests have?  --bless rewrites the expected texts of filetests, --fuzz-graphs says how many graphs to try."""


def pytest_addoption(parser):
    parser.addoption("--bless", action="store_true", help="rewrite the expected text of every filetest to what its pass gives now")
    parser.addoption("--fuzz-graphs", type=int, default=200, metavar="N", help="how many random graphs the fuzz tests try")
