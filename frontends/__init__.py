"""How do users speak to lamina?  Array functions, tracing, jit, pytrees, imported models, the command line, reports."""
