"""What runs inside a worker, on every engine: the one place that calls users' functions."""
