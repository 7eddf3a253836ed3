"""The built-in jobs: real tools, written with gearshift's public names only.

Apart from the library so that they show what its users can do: whatever a job needs,
any program can import.
"""
