"""What runs a compiled model: artifacts, executables, threads, caches, linking. Imports nothing of the compiler."""
