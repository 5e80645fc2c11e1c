"""The words every other layer uses: dtypes, dims, types, source locations, errors, options, remarks."""
