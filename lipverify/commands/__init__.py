"""The commands of the command line, a room for each idea. Everything heavy is imported when it is needed."""
