"""From a graph of groups to a Program: where every value lies, in which order kernels run, how large the arena is."""
