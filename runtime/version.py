"""Which version of lamina is this?"""

VERSION = "0.1.0"
