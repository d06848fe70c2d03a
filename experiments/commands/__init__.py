"""What the commands of the command line do, one module a command, each with a function `run`."""
