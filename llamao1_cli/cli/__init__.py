"""The command line: options in, one call, exit codes out."""
