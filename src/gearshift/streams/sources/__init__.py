"""Where the items of a stream come from when nobody can ask for the next one."""
