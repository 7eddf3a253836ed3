"""What can be measured of a function and of this machine; it decides nothing."""
