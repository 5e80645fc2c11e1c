"""The commands, one file each: SUMMARY and EXAMPLES for its help, configure(parser) for its arguments, run(arguments, console)."""
