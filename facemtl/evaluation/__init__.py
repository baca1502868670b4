"""The predictions table -> tables of metrics."""
