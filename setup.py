"""The repository root is the package `lamina`: list its rooms, leave tests, examples and benchmarks out."""

from setuptools import find_packages, setup

rooms = find_packages(".", include=["compiler", "compiler.*", "runtime", "runtime.*", "frontends", "frontends.*"])
setup(packages=["lamina", *(f"lamina.{room}" for room in rooms)],
      package_data={"lamina.frontends.cli": ["demo/*"], "lamina.frontends.report": ["page/*"]})
