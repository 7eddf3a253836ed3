"""The public calls: check the arguments, wire the layers together."""
