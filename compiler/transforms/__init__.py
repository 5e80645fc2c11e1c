"""What does a user ask of a graph before it is compiled?  Derivatives: transforms from graphs to graphs."""

from . import custom as custom, regions as regions  # they register rules of the ops that hold graphs
