"""How are lamina and its peers measured side by side?  One process per contender, one active at a time."""
