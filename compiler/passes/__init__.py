"""The compiler's own rewritings of a graph: one file for each deed, each a pure function from graph to graph."""
